from memtwin.hardware.clock cimport Clock
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zone, Zones
from memtwin.reclaim.compact_policy cimport CompactPolicy
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.scan_control cimport ScanControl
from memtwin.reclaim.vmscan cimport Vmscan

cdef int DEF_PRIORITY
cdef int GFP_KERNEL
cdef int KSWAPD_ASLEEP
cdef int KSWAPD_BALANCING
cdef int KSWAPD_DOZING
cdef int KSWAPD_HIGH_WMARK_HIT_QUICKLY
cdef int KSWAPD_LOW_WMARK_HIT_QUICKLY
cdef int KSWAPD_PREEMPTED
cdef int KSWAPD_THROTTLED
cdef long long KSWAPD_TURN_NS
cdef int KSWAPD_WOKEN
cdef int LRU_ACTIVE_ANON
cdef int LRU_INACTIVE_ANON
cdef int MAX_RECLAIM_RETRIES
cdef int NR_THROTTLED_WRITTEN
cdef int PAGEOUTRUN
cdef int SWAP_CLUSTER_MAX
cdef long long THROTTLE_JIFFY_NS

cdef class KswapdNode:
    cdef public int node
    cdef public int state
    cdef public long long until_ns
    cdef public long long busy_until_ns
    cdef public int order
    cdef public int highest
    cdef public int run_order
    cdef public int run_highest
    cdef public int sleep_order
    cdef public int sleep_highest
    cdef public long long boost_left
    cdef public int boosted
    cdef public long long nr_before
    cdef public int pass_ended
    cdef public int raise_priority
    cdef public long long written_at_pause
    cdef public ScanControl sc
    cdef public long long[::1] zone_boosts

cdef class Kswapd:
    cdef public Vmscan vmscan
    cdef public PageAlloc page_alloc
    cdef public FolioIo folio_io
    cdef public Clock clock
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public list nodes
    cdef public int nr_pending
    cdef public CompactPolicy compact
    cpdef int wakeup(self, int node, int order, int highest)
    cdef void wake_all(self, int gfp, int order)
    cdef void want_cpu(self, KswapdNode state, int why)
    cpdef int run_pending(self)
    cpdef long long next_ns(self)
    cpdef int tick(self)
    cdef void end_pause(self, KswapdNode state)
    cdef void begin(self, KswapdNode state)
    cdef Zone zone_at(self, int node, int idx)
    cdef void run(self, KswapdNode state)
    cdef int needs_no_pass(self, KswapdNode state)
    cdef void begin_pass(self, KswapdNode state)
    cdef int step(self, KswapdNode state)
    cdef int after_shrink(self, KswapdNode state)
    cdef void finish(self, KswapdNode state)
    cdef int may_sleep(self, KswapdNode state)
    cdef void age_node(self, int node, ScanControl sc)
    cpdef int balanced(self, int node, int order, int highest)
    cdef int is_boosted(self, int node, int highest)
