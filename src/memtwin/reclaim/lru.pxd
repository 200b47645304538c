from memtwin.memcg.charge cimport Charge
from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.lruvec cimport Lruvecs
from memtwin.reclaim.mlock cimport Mlock
from memtwin.swap.content cimport PageContent
from memtwin.views cimport I4

cdef int BATCH_ACTIVATE
cdef int BATCH_ADD
cdef int BATCH_DEACTIVATE
cdef int BATCH_DEACTIVATE_FILE
cdef int BATCH_LAZYFREE
cdef int BATCH_MLOCK
cdef int BATCH_ROOM
cdef int BATCH_ROTATE
cdef int HEAD_SIDE
cdef int TAIL_SIDE
cdef int NR_BATCHES
cdef int MLOCK_LRU
cdef int MLOCK_NEW
cdef int MUNLOCK
cdef int NR_MLOCK
cdef int PGACTIVATE
cdef int PGDEACTIVATE
cdef int PGLAZYFREE
cdef int PGROTATED
cdef int UNEVICTABLE_PGS_CLEARED
cdef int UNEVICTABLE_PGS_CULLED
cdef int UNEVICTABLE_PGS_RESCUED
cdef long long PG_ACTIVE
cdef long long PG_ANON
cdef long long PG_DIRTY
cdef long long PG_LOCKED
cdef long long PG_LRU
cdef long long PG_MLOCKED
cdef long long PG_RECLAIM
cdef long long PG_REFERENCED
cdef long long PG_SWAPBACKED
cdef long long PG_SWAPCACHE
cdef long long PG_UNEVICTABLE
cdef long long PG_WRITEBACK

cdef class Lru:
    cdef public MemMap mem
    cdef public Lruvecs lruvecs
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public Charge charge
    cdef public Mlock mlock
    cdef public PageAlloc page_alloc
    cdef public PageContent content
    cdef public int nr_cpus
    cdef public int memalloc
    cdef public int cpu
    cdef public int batch_size
    cdef public I4 batch
    cdef public I4 batch_count
    cdef public signed char[::1] mlock_what
    cpdef int folio_add_lru(self, int pfn)
    cpdef int folio_add_lru_locked_vma(self, int pfn)
    cdef void queue(self, int pfn, int kind)
    cdef void drain_batch(self, int cpu, int kind)
    cdef void lru_add(self, int pfn) noexcept
    cdef void move(self, int pfn, int kind)
    cdef void count(self, int pfn, int event) noexcept
    cdef void activate_now(self, int pfn) noexcept
    cdef void deactivate_file_now(self, int pfn)
    cpdef int folio_activate(self, int pfn)
    cpdef int folio_mark_accessed(self, int pfn)
    cdef void activate_in_batch(self, int pfn) noexcept
    cpdef int deactivate_file_folio(self, int pfn)
    cpdef int folio_deactivate(self, int pfn)
    cpdef int folio_mark_lazyfree(self, int pfn)
    cpdef int folio_rotate_reclaimable(self, int pfn)
    cpdef int lru_add_drain(self)
    cpdef int lru_add_drain_cpu(self, int cpu)
    cpdef int lru_add_drain_all(self)
    cpdef int mlock_folio(self, int pfn)
    cpdef int munlock_folio(self, int pfn)
    cdef void queue_mlock(self, int pfn, int what)
    cdef void drain_mlock(self, int cpu)
    cpdef int folio_put(self, int pfn)
    cpdef int release(self, int pfn)
    cpdef int release_pages(self, I4 pfns, int nr)
