from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables
from memtwin.reclaim.lru_gen cimport LruGen
from memtwin.reclaim.lruvec cimport Lruvecs
from memtwin.reclaim.stat_fold cimport StatFold
from memtwin.swap.swap cimport Swap

cdef int EVICTION_BITS
cdef int LRU_ACTIVE_ANON
cdef int LRU_ACTIVE_FILE
cdef int LRU_INACTIVE_ANON
cdef int LRU_INACTIVE_FILE
cdef long long LRU_REFS_MASK
cdef long long PG_ACTIVE
cdef long long PG_SWAPBACKED
cdef long long PG_WORKINGSET
cdef int SWAP_CLUSTER_MAX
cdef int WORKINGSET_ACTIVATE_ANON
cdef int WORKINGSET_REFAULT_ANON
cdef int WORKINGSET_RESTORE_ANON

cdef class Workingset:
    cdef public MemMap mem
    cdef public Lruvecs lruvecs
    cdef public LruGen gen
    cdef public MemcgTable memcgs
    cdef public Swap swap
    cdef public Tunables tunables
    cdef public StatFold stat_fold
    cdef long long pack(self, long long memcg, int node, long long age, int workingset) noexcept
    cpdef long long workingset_eviction(self, int pfn, int target_memcg)
    cpdef int workingset_refault(self, int pfn, long long shadow)
    cdef long long workingset_size(self, int lruvec, int memcg, int is_file)
    cdef void count_activation(self, int pfn, int node, int is_file, long long nr_pages)
    cdef int tier_of(self, int refs) noexcept
    cdef long long gen_eviction(self, int pfn, int node)
    cdef int gen_refault(self, int pfn, int evicting, int node, long long token, int workingset)
