from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.reclaim.lru_gen cimport LruGen
from memtwin.reclaim.lruvec cimport Lruvecs
from memtwin.reclaim.mglru_walk cimport MglruWalk

cdef int GEN_ANON
cdef int GEN_FILE
cdef long long LRU_GEN_MASK
cdef int LRU_GEN_SHIFT
cdef long long LRU_REFS_MASK
cdef int MAX_NR_GENS
cdef int MAX_NR_TIERS
cdef int MAX_SWAPPINESS
cdef int MIN_LRU_BATCH
cdef int MIN_NR_GENS
cdef long long PG_REFERENCED
cdef long long PG_SWAPBACKED
cdef long long PG_WORKINGSET
cdef int STALL_RECLAIM

cdef class MglruGens:
    cdef public MglruWalk walk
    cdef public Clock clock
    cdef public CostTable cost
    cdef public MemMap mem
    cdef public Lruvecs lruvecs
    cdef public LruGen gen
    cdef public int tier_last
    cdef public long long nr_to_scan
    cdef long long nr_gens(self, int lruvec, int gen_type) noexcept
    cdef int history(self, int lruvec, int gen_type, int tier) noexcept
    cdef long long refaulted_of(self, int lruvec, int gen_type, int tier) noexcept
    cdef long long total_of(self, int lruvec, int gen_type, int tier) noexcept
    cdef int within_setpoint(
        self, int lruvec, int sp_type, long long sp_gain, int pv_type, int pv_tier, long long
        pv_gain
    ) noexcept
    cdef void carry_over(self, int lruvec, int gen_type) noexcept
    cdef int inc_gen(self, int lruvec, int pfn)
    cdef void inc_min_seq(self, int lruvec, int gen_type, int can_swap)
    cdef int is_empty(self, int lruvec, long long seq, int gen_type) noexcept
    cdef int try_to_inc_min_seq(self, int lruvec, int can_swap)
    cdef void inc_max_seq(self, int lruvec, int can_swap)
    cdef int age(self, int lruvec, int can_swap)
    cdef int tier_idx(self, int lruvec, int gen_type)
    cdef int type_to_scan(self, int lruvec, int swappiness)
    cdef int should_run_aging(self, int lruvec, int can_swap)
    cdef long long size_of(self, int lruvec, long long seq, int gen_type) noexcept
