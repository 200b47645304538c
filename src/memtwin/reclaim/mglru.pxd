from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zone
from memtwin.page.zone cimport Zones
from memtwin.reclaim.folio_reclaim cimport FolioReclaim
from memtwin.reclaim.lru_gen cimport LruGen
from memtwin.reclaim.lru_scan cimport LruScan
from memtwin.reclaim.lruvec cimport Lruvecs
from memtwin.reclaim.mglru_gens cimport MglruGens
from memtwin.reclaim.mglru_walk cimport MglruWalk
from memtwin.reclaim.scan_balance cimport ScanBalance
from memtwin.reclaim.scan_control cimport ScanControl

cdef int DEF_PRIORITY
cdef int GEN_ANON
cdef int GEN_FILE
cdef int GFP_IO
cdef long long LRU_REFS_MASK
cdef int MAX_LRU_BATCH
cdef int MAX_NR_GENS
cdef int MAX_SWAPPINESS
cdef int MIN_LRU_BATCH
cdef int MIN_NR_GENS
cdef int PGREFILL
cdef int PGSCAN_ANON
cdef int PGSCAN_DIRECT
cdef int PGSCAN_KSWAPD
cdef int PGSTEAL_ANON
cdef int PGSTEAL_DIRECT
cdef int PGSTEAL_KSWAPD
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
cdef long long PG_WORKINGSET
cdef long long PG_WRITEBACK
cdef int REFS_MAX

cdef class Mglru:
    cdef public LruScan lru_scan
    cdef public FolioReclaim folio_reclaim
    cdef public ScanBalance balance
    cdef public MglruWalk walk
    cdef public MglruGens gens
    cdef public PageAlloc page_alloc
    cdef public MemMap mem
    cdef public VmStat vmstat
    cdef public Lruvecs lruvecs
    cdef public LruGen gen
    cdef public Zones zones
    cdef public int last_type
    cdef public int[::1] again
    cdef public int moved_head
    cdef int swappiness_of(self, int lruvec, ScanControl sc)
    cdef int sort_folio(
        self, int lruvec, int pfn, ScanControl sc, int tier_last, int gen_type, int zone_idx
    )
    cdef int isolate_folio(self, int lruvec, int pfn, ScanControl sc, int zone_id)
    cdef long long scan_folios(self, int lruvec, ScanControl sc, int gen_type, int tier_last)
    cdef long long isolate_folios(self, int lruvec, ScanControl sc, int swappiness)
    cdef long long evict_folios(self, int lruvec, ScanControl sc, int swappiness)
    cdef int sort_rejected(self, int retried)
    cdef long long pages_to_scan(self, int lruvec, ScanControl sc, int swappiness)
    cdef int should_abort_scan(self, ScanControl sc, int node)
    cdef int try_to_shrink_lruvec(self, int lruvec, ScanControl sc)
