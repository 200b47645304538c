from memtwin.memcg.charge cimport Charge
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zone, Zones
from memtwin.reclaim.lruvec cimport Lruvecs
from memtwin.reclaim.scan_control cimport ScanControl
from memtwin.reclaim.stat_fold cimport StatFold
from memtwin.swap.swap cimport Swap
from memtwin.views cimport I8

cdef int DEACTIVATE_ANON
cdef int DEACTIVATE_FILE
cdef int LRU_INACTIVE_ANON
cdef int LRU_INACTIVE_FILE
cdef int NR_ACTIVE_FILE
cdef int NR_FREE_PAGES
cdef int NR_INACTIVE_ANON
cdef int NR_INACTIVE_FILE
cdef int SCAN_ANON
cdef int SCAN_EQUAL
cdef int SCAN_FILE
cdef int SCAN_FRACT
cdef int SWAP_CLUSTER_MAX

cdef class ScanBalance:
    cdef public Lruvecs lruvecs
    cdef public MemcgTable memcgs
    cdef public Charge charge
    cdef public Swap swap
    cdef public PageAlloc page_alloc
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public StatFold stat_fold
    cdef public I8 nr
    cpdef int can_reclaim_anon(self, int memcg)
    cpdef int inactive_is_low(self, int lruvec, int lru)
    cdef void prepare(self, ScanControl sc, int node)
    cdef int wants_deactivation(self, int lruvec, int is_file)
    cdef void look_for_tiny_cache(self, ScanControl sc, int node)
    cdef int scan_mode(self, int memcg, ScanControl sc, long long swappiness)
    cdef void get_scan_count(self, int lruvec, ScanControl sc)
    cdef long long protected_scan(self, int memcg, ScanControl sc, long long size)
    cpdef long long effective_min(self, int memcg)
    cpdef long long effective_low(self, int memcg)
    cdef long long effective(self, int memcg, I8 setting)
    cdef void snapshot_refaults(self, int target_memcg, int node)
