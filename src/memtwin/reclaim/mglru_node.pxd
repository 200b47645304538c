from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.lru_gen cimport LruGen
from memtwin.reclaim.lru_scan cimport LruScan
from memtwin.reclaim.lruvec cimport Lruvecs
from memtwin.reclaim.memcg_lru cimport MemcgLru
from memtwin.reclaim.mglru cimport Mglru
from memtwin.reclaim.mglru_gens cimport MglruGens
from memtwin.reclaim.mglru_walk cimport MglruWalk
from memtwin.reclaim.scan_balance cimport ScanBalance
from memtwin.reclaim.scan_control cimport ScanControl
from memtwin.reclaim.shrinker cimport Shrinkers

cdef int DEF_PRIORITY
cdef int MEMCG_LOW
cdef int MEMCG_LRU_NOP
cdef int MEMCG_LRU_TAIL
cdef int MEMCG_LRU_YOUNG
cdef int MEMCG_NR_GENS
cdef int MIN_LRU_BATCH
cdef int NR_INACTIVE_ANON
cdef int NR_INACTIVE_FILE
cdef int SEG_TAIL

cdef class MglruNode:
    cdef public Mglru mglru
    cdef public MemcgLru groups
    cdef public LruScan lru_scan
    cdef public FolioIo folio_io
    cdef public ScanBalance balance
    cdef public MglruWalk walk
    cdef public MglruGens gens
    cdef public LruGen gen
    cdef public Lruvecs lruvecs
    cdef public VmStat vmstat
    cdef void shrink_lruvec(self, int lruvec, ScanControl sc)
    cdef void shrink_node(self, int node, ScanControl sc, Shrinkers shrinkers)
    cdef void set_initial_priority(self, int node, ScanControl sc)
    cdef void age_node(self, int node, ScanControl sc)
    cdef void shrink_many(self, int node, ScanControl sc, Shrinkers shrinkers)
    cdef int shrink_one(self, int lruvec, ScanControl sc, Shrinkers shrinkers)
    cdef int is_sizable(self, int lruvec, ScanControl sc)
