cdef class MemMap:
    cdef public int nr_frames
    cdef public int nr_heads
    cdef int _head_capacity
    cdef public long long[::1] flags
    cdef public int[::1] refcount
    cdef public int[::1] mapcount
    cdef public int[::1] lru_next
    cdef public int[::1] lru_prev
    cdef public int[::1] mapping
    cdef public long long[::1] index
    cdef public long long[::1] private
    cdef public int[::1] memcg
    cdef public signed char[::1] order
    cpdef int new_head(self)
    cdef void list_add(self, int head, int pfn) noexcept
    cdef void list_add_tail(self, int head, int pfn) noexcept
    cdef void list_del(self, int pfn) noexcept
    cdef int list_first(self, int head) noexcept
    cdef int list_last(self, int head) noexcept
    cdef void list_splice(self, int source, int head) noexcept
