from memtwin.address_space.mm cimport Mm, Mms
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.address_space.vma_tree cimport VmaTree
from memtwin.hardware.clock cimport Clock
from memtwin.page.mem_map cimport MemMap
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.lru_gen cimport LruGen
from memtwin.reclaim.lruvec cimport Lruvecs

cdef int HUGE_ENTRY
cdef long long LRU_GEN_MASK
cdef int LRU_GEN_SHIFT
cdef long long LRU_REFS_MASK
cdef int MAX_NR_GENS
cdef int MIN_LRU_BATCH
cdef long long PG_ANON
cdef long long PG_DIRTY
cdef long long PG_REFERENCED
cdef long long PG_SWAPBACKED
cdef long long PG_SWAPCACHE
cdef long long PG_WORKINGSET
cdef long long PTE_ACCESSED
cdef long long PTE_DIRTY
cdef long long PTE_PFN_MASK
cdef int PTE_PFN_SHIFT
cdef long long PTE_PRESENT
cdef long long PTE_SPECIAL
cdef int TABLE_SHIFT
cdef long long THROTTLE_JIFFY_NS
cdef int VMA_ANON
cdef int VMA_PFNMAP
cdef int VMA_SHMEM
cdef int VMA_SPECIAL
cdef long long VM_ACCESS
cdef long long VM_LOCKED
cdef long long VM_RAND_READ
cdef long long VM_SEQ_READ
cdef int YOUNG_FACTOR

cdef class MglruWalk:
    cdef public Lru lru
    cdef public MemMap mem
    cdef public Lruvecs lruvecs
    cdef public LruGen gen
    cdef public Rmap rmap
    cdef public PageTables tables
    cdef public Mms mms
    cdef public Clock clock
    cdef public int has_walk
    cdef public dict filters
    cdef public dict walked_ns
    cdef public set keep
    cdef public long long table
    cdef public int total
    cdef public int young
    cdef public long long nr_walked
    cdef void update_gen(self, int pfn, int lruvec, int new_gen)
    cdef void move_counts(self, int pfn, int lruvec, int old_gen, int new_gen) noexcept
    cdef int young_frame(self, long long at, int memcg, int can_swap) noexcept
    cdef void walk_mms(self, int lruvec, long long seq, int can_swap)
    cdef void walk_mm(
        self, Mm mm, int lruvec, int memcg, int node, long long seq, int can_swap, int force
    )
    cdef void judge_table(self)
    cdef int walk_entries(
        self, long long at, int nr, int lruvec, int memcg, int node, int new_gen, int can_swap
    )
    cdef int skip_vma(self, VMA vma, int can_swap) noexcept
    cdef int folio_referenced(self, int pfn, int memcg)
    cdef void look_around(self, int pfn, VMA vma, long long at, long long vpn)
    cdef void promote(self, int pfn, int lruvec, int new_gen)
