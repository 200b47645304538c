from memtwin.heap.call_log cimport CallLog
from memtwin.views cimport I8, U1

cdef long long BLOCK_ROWS
cdef int BLOCK_SHIFT
cdef int MMAP_SLOT_ROWS
cdef long long PAGE_SIZE
cdef int ROW_SHIFT
cdef int ROWS_A_PAGE_SHIFT
cdef int SEGV

cdef class HeapMemory:
    cdef readonly CallLog log
    cdef public int touching
    cdef public int fault
    cdef public long long nr_resident
    cdef public long long resident_peak
    cdef public I8 word
    cdef public U1 resident
    cdef readonly long long nr_rows
    cdef readonly long long end_row
    cdef readonly long long main_first
    cdef readonly long long main_end
    cdef readonly long long mmap_first
    cdef public long long mmap_next
    cdef public long long mmap_free
    cdef readonly long long main_base
    cdef public I8 block_base
    cdef public int heap_shift
    cdef readonly dict block_by_address
    cdef readonly dict region_by_block
    cdef readonly dict slot_by_address
    cdef public long long block_next
    cdef readonly list block_free
    cpdef long long address_of(self, long long row) noexcept
    cpdef long long row_of(self, long long address) except? -1
    cpdef int is_outside(self, long long row) noexcept
    cpdef long long take_slot(self, long long address) except? -1
    cpdef void move_slot(self, long long row, long long address)
    cpdef void give_slot(self, long long row)
    cpdef void touch_mapped(self, long long row, long long end_bytes)
    cpdef void cut_mapped(self, long long row, long long size_bytes)
    cpdef void advance_slot(self, long long row, long long address)
    cdef void _set_mapped_pages(self, long long row, long long pages)
    cpdef void touch(self, long long row, long long size_bytes)
    cpdef void first_touch(self, long long page)
    cpdef void give_back(self, long long row, long long size_bytes)
    cdef void _count(self, long long pages)
