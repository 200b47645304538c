from memtwin.prefetch cimport fetch
from memtwin.views cimport I4, I8, U1

cdef int UNREACHED
cdef int INDIRECT
cdef int POSSIBLE
cdef int REACHABLE
cdef int IN_REGISTER
cdef int _CELL_SHIFT
cdef int _GRANULE_SHIFT
cdef int _CELLS
cdef int _PAGE_WORDS_SHIFT
cdef int _CHUNK_HEADER_BYTES
cdef int _START
cdef int _END
cdef int _ROW
cdef int _FOUND_AT
cdef int _RECORD
cdef int _LAG
cdef int _WAITING
cdef int _LINE_WORDS
cdef int _MOST_FETCHED_WORDS

cdef class Reachability:
    cdef readonly int nr_blocks
    cdef I8 words
    cdef U1 resident
    cdef unsigned long long start_mask
    cdef I8 inner_starts
    cdef long long nr_inner_starts
    cdef I8 records
    cdef public U1 state
    cdef public I8 found_at
    cdef public I4 leader
    cdef public I4 indirect_blocks
    cdef public I8 indirect_bytes
    cdef I8 stack
    cdef long long depth
    cdef I8 waiting
    cdef long long nr_called
    cdef long long nr_scanned
    cdef I8 met
    cdef long long nr_met
    cdef long long nr_looked_up
    cdef I8 named
    cdef long long nr_named
    cdef long long nr_reached
    cdef readonly long long scanned_bytes
    cdef readonly long long low
    cdef readonly long long high
    cdef long long first_granule
    cdef I4 granules
    cdef long long nr_cells
    cdef I8 cells
    cdef void _fill_records(self, I8 starts, I8 ends, I8 word_rows) noexcept
    cdef long long _number_granules(self) noexcept
    cdef void _fill_cells(self) noexcept
    cdef long long _count_bits(self, long long bits) noexcept
    cdef long long _cell_row(self, long long vaddr) noexcept
    cdef long long _last_start(self, long long row, long long vaddr) noexcept
    cpdef int block_at(self, long long vaddr) noexcept
    cdef int _is_start(self, long long i, long long vaddr) noexcept
    cdef int _is_inner_start(self, long long vaddr) noexcept
    cpdef void also_starts(self, I8 vaddrs)
    cdef void _push(self, long long i) noexcept
    cpdef void roots(self, long long first_row, long long end_row, long long vaddr) noexcept
    cpdef void stack_roots(self, long long first_row, long long end_row, long long vaddr) noexcept
    cpdef void register_roots(self, I8 registers)
    cdef void _meet_held(self, long long word, long long at) noexcept
    cpdef void sort(self) noexcept
    cdef void _follow(self, int kind, long long clique) noexcept
    cdef void _call(self) noexcept
    cdef void _scan(self, int kind, long long clique) noexcept
    cdef void _meet(self, long long word, long long at, int kind, long long clique) noexcept
    cdef void _look_up(self, int kind, long long clique) noexcept
    cdef int _is_settled(self, long long i, int kind) noexcept
    cdef void _reach(self, int kind, long long clique) noexcept
    cdef void _join(self, long long i, long long at, long long clique) noexcept
