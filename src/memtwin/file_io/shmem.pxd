from memtwin.file_io.cache_pages cimport CachePages
from memtwin.file_io.invalidate cimport Invalidate
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page_cache.mapping cimport Mapping
from memtwin.page_cache.page_cache cimport PageCache
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.swapin_readahead cimport SwapIn
from memtwin.swap.swap cimport Swap

cdef int VM_FAULT_MAJOR
cdef int VM_FAULT_OOM
cdef int VM_FAULT_SIGBUS
cdef int STALL_SWAP_IN
cdef long long PG_DIRTY
cdef long long PG_LOCKED
cdef long long PG_SWAPBACKED
cdef long long PG_SWAPCACHE
cdef long long PG_UPTODATE
cdef long long PG_WRITEBACK
cdef int GFP_HIGHUSER_MOVABLE
cdef int NEED_OOM
cdef int PGMAJFAULT
cdef int SHMEM
cdef int NIL

cdef class Shmem:
    cdef public CachePages pages
    cdef public MemMap mem
    cdef public PageCache page_cache
    cdef public Lru lru
    cdef public Invalidate invalidate
    cdef public FolioIo folio_io
    cdef public Swap swap
    cdef public SwapIn swap_in
    cdef public Clock clock
    cdef public CostTable cost
    cdef public int fault_pfn
    cpdef int create(self, long long size_bytes)
    cpdef int fault(self, int mapping_id, long long index, int memcg_id)
    cdef int _new_page(self, Mapping mapping, long long index)
    cdef int _swapin(self, Mapping mapping, long long index, long long entry, int memcg_id)
    cpdef long long free_object(self, int mapping_id)
    cpdef long long remove_range(self, int mapping_id, long long start, long long end)
    cdef void _free_slot(self, long long entry)
    cpdef long long swap_usage(self, int mapping_id, long long start, long long end)
