from memtwin.address_space.rmap cimport Rmap
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.flusher_threads cimport FlusherThreads
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.folio_reclaim cimport FolioReclaim
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.lruvec cimport Lruvecs
from memtwin.reclaim.scan_balance cimport ScanBalance
from memtwin.reclaim.scan_control cimport ScanControl
from memtwin.views cimport I4, I8

cdef int DEACTIVATE_ANON
cdef int DEF_PRIORITY
cdef int HEAD_SIDE
cdef int LRU_ACTIVE_ANON
cdef int LRU_ACTIVE_FILE
cdef int LRU_INACTIVE_ANON
cdef int LRU_INACTIVE_FILE
cdef int NR_ISOLATED_ANON
cdef int NR_LRU_LISTS
cdef int PGDEACTIVATE
cdef int PGREFILL
cdef int PGSCAN_ANON
cdef int PGSCAN_DIRECT
cdef int PGSCAN_KSWAPD
cdef int PGSKIP_DMA
cdef int PGSTEAL_ANON
cdef int PGSTEAL_DIRECT
cdef int PGSTEAL_KSWAPD
cdef long long PG_ACTIVE
cdef long long PG_LRU
cdef long long PG_MLOCKED
cdef long long PG_SWAPBACKED
cdef long long PG_WORKINGSET
cdef int STALL_RECLAIM
cdef int SWAP_CLUSTER_MAX
cdef long long VM_EXEC

cdef class LruScan:
    cdef public Lru lru
    cdef public MemMap mem
    cdef public Lruvecs lruvecs
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public MemcgTable memcgs
    cdef public Rmap rmap
    cdef public FolioReclaim folio_reclaim
    cdef public ScanBalance balance
    cdef public FlusherThreads flushers
    cdef public int flusher_wanted
    cdef public long long nr_total_scanned
    cdef public I8 zone_taken
    cdef public int skip_head
    cdef public I4 skip_event
    cdef long long isolate_lru_folios(
        self, long long nr_to_scan, int lruvec, ScanControl sc, int lru
    )
    cdef long long move_folios_to_lru(self, int lruvec, I4 pfns, int nr)
    cdef void count_scan(
        self, int item, ScanControl sc, int memcg, int node, long long nr_pages
    ) noexcept
    cdef long long shrink_inactive_list(
        self, long long nr_to_scan, int lruvec, ScanControl sc, int lru
    )
    cdef void meet_unqueued_dirty(self, ScanControl sc, int node)
    cdef void meet_full_queue(self, ScanControl sc)
    cpdef int wake_flushers(self)
    cdef void shrink_active_list(self, long long nr_to_scan, int lruvec, ScanControl sc, int lru)
    cdef long long shrink_list(self, int lru, long long nr_to_scan, int lruvec, ScanControl sc)
    cdef void shrink_lruvec(self, int lruvec, ScanControl sc)
    cdef long long shrink_lists(self, int lruvec, ScanControl sc)
    cpdef int can_age_anon(self)
    cdef int scale_targets(self, ScanControl sc) noexcept
