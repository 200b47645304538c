from memtwin.views cimport I4, I8, U1

cdef int UNREACHED
cdef int INDIRECT
cdef int POSSIBLE
cdef int REACHABLE
cdef int IN_REGISTER
cdef int _BUCKET_SHIFT
cdef int _GRANULE_SHIFT
cdef int _BUCKETS
cdef int _PAGE_WORDS_SHIFT
cdef int _CHUNK_HEADER_BYTES

cdef class Reachability:
    cdef readonly int nr_blocks
    cdef I8 starts
    cdef I8 ends
    cdef I8 words
    cdef I8 word_rows
    cdef U1 resident
    cdef unsigned long long start_mask
    cdef public U1 state
    cdef public I8 found_at
    cdef public I4 leader
    cdef public I4 indirect_blocks
    cdef public I8 indirect_bytes
    cdef I4 stack
    cdef int depth
    cdef readonly long long scanned_bytes
    cdef readonly long long low
    cdef readonly long long high
    cdef long long first_granule
    cdef I4 granules
    cdef I4 buckets
    cdef long long _number_granules(self) noexcept
    cdef void _fill_buckets(self) noexcept
    cdef long long _bucket_row(self, long long bucket) noexcept
    cpdef int block_at(self, long long vaddr) noexcept
    cdef int _is_start(self, int i, long long vaddr) noexcept
    cdef void _push(self, int i) noexcept
    cdef void _meet_root(self, long long vaddr, long long at) noexcept
    cpdef void roots(self, long long first_row, long long end_row, long long vaddr) noexcept
    cpdef void stack_roots(self, long long first_row, long long end_row, long long vaddr) noexcept
    cpdef void register_roots(self, I8 registers)
    cdef void _meet_held(self, long long word, long long at) noexcept
    cpdef void sort(self) noexcept
    cdef void _follow(self, int kind, int clique) noexcept
    cdef void _meet(self, long long word, long long at, int kind, int clique) noexcept
    cdef void _join(self, int i, long long at, int clique) noexcept
