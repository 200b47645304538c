cdef int SHMEM

cdef class Mapping:
    cdef public int id
    cdef public long long ino
    cdef public int kind
    cdef public long long size_bytes
    cdef public long long nr_slots
    cdef public long long[::1] slots
    cdef public signed char[::1] level1
    cdef public signed char[::1] values
    cdef public signed char[::1] level2
    cdef public signed char[::1] level3
    cdef public signed char[::1] level4
    cdef public int height
    cdef public long long nr_pages
    cdef public long long nr_values
    cdef public int nr_nodes
    cdef public long long nr_dirty
    cdef public long long dirty_start
    cdef public long long dirty_end
    cdef public long long writeback_index
    cdef public int writably_mapped
    cdef public long long block_base
    cdef public long long mapped_end
    cdef public set mapped_extra
    cpdef int grow_to(self, long long index)
    cpdef long long slot(self, long long index)
    cdef int _levels(self, long long index) noexcept
    cdef int _used(self, int level, long long node) noexcept
    cdef int _add_used(self, int level, long long node, int delta) noexcept
    cpdef int missing_nodes(self, long long index)
    cpdef int store(self, long long index, long long entry)
    cpdef int erase(self, long long index)
    cdef void _extend(self, long long index)
    cdef void _shrink(self)
    cpdef int only_values(self, long long index)
    cpdef long long next_miss(self, long long index, long long max_scan)
    cpdef long long prev_miss(self, long long index, long long max_scan)
    cpdef long long end_index(self)
    cpdef int is_mapped(self, long long index)
    cpdef int map_page(self, long long index)
    cpdef int unmap_from(self, long long index)
    cpdef int note_dirty(self, long long index)
    cpdef int note_clean(self, long long index)
