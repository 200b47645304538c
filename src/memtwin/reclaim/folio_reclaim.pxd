from memtwin.address_space.huge_split cimport HugeSplit
from memtwin.address_space.rmap cimport Rmap
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.memcg.charge cimport Charge
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.page_cache.buffer_head cimport BufferHeads
from memtwin.page_cache.mapping cimport Mapping
from memtwin.page_cache.page_cache cimport PageCache
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.mglru_walk cimport MglruWalk
from memtwin.reclaim.scan_control cimport ScanControl
from memtwin.reclaim.swap_io cimport SwapIo
from memtwin.reclaim.workingset cimport Workingset
from memtwin.swap.swap cimport Swap
from memtwin.views cimport I4

cdef int CGROUP_V1
cdef int FOLIOREF_ACTIVATE
cdef int FOLIOREF_KEEP
cdef int FOLIOREF_RECLAIM
cdef int FOLIOREF_RECLAIM_CLEAN
cdef int FOLIO_ACTIVATED
cdef int FOLIO_FREED
cdef int FOLIO_KEPT
cdef int FOLIO_SPLIT
cdef int GFP_FS
cdef int GFP_IO
cdef int HPAGE_PAGES
cdef int MAX_ISOLATED
cdef int NR_VMSCAN_IMMEDIATE_RECLAIM
cdef int NR_VMSCAN_WRITE
cdef int PGACTIVATE
cdef int PGLAZYFREED
cdef long long PG_ACTIVE
cdef long long PG_ANON
cdef long long PG_DIRTY
cdef long long PG_HEAD
cdef long long PG_LOCKED
cdef long long PG_MLOCKED
cdef long long PG_PRIVATE
cdef long long PG_RECLAIM
cdef long long PG_REFERENCED
cdef long long PG_SWAPBACKED
cdef long long PG_SWAPCACHE
cdef long long PG_WRITEBACK
cdef int SHMEM
cdef int STALL_RECLAIM
cdef int THP_SPLIT_PAGE
cdef int THP_SWPOUT
cdef int THP_SWPOUT_FALLBACK
cdef long long VM_EXEC
cdef long long VM_LOCKED

cdef class FolioReclaim:
    cdef public Lru lru
    cdef public MemMap mem
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public Charge charge
    cdef public MemcgTable memcgs
    cdef public PageAlloc page_alloc
    cdef public Rmap rmap
    cdef public PageCache page_cache
    cdef public BufferHeads buffer_heads
    cdef public Swap swap
    cdef public SwapIo swap_io
    cdef public FolioIo folio_io
    cdef public Workingset workingset
    cdef public MglruWalk walk
    cdef public Clock clock
    cdef public CostTable cost
    cdef public HugeSplit huge_split
    cdef public I4 node_writeback
    cdef public I4 node_dirty
    cdef public I4 isolated
    cdef public int nr_isolated
    cdef public I4 kept
    cdef public int nr_kept
    cdef public I4 freed
    cdef public int nr_freed
    cdef public long long nr_dirty
    cdef public long long nr_unqueued_dirty
    cdef public long long nr_congested
    cdef public long long nr_writeback
    cdef public long long nr_immediate
    cdef public long long nr_pageout
    cdef public long long nr_activate_anon
    cdef public long long nr_activate_file
    cdef public long long nr_ref_keep
    cdef public long long nr_unmap_fail
    cdef public long long nr_lazyfree_fail
    cdef void clear_stat(self) noexcept
    cdef long long shrink_folio_list(self, ScanControl sc, int node, int ignore_references)
    cdef void keep(self, int pfn) noexcept
    cdef void free_the_freed(self)
    cdef void activate_locked(self, int pfn, long long nr_pages)
    cdef int swap_is_full(self, int pfn)
    cdef int writeback_throttling_sane(self, ScanControl sc) noexcept
    cdef int may_enter_fs(self, int pfn, int gfp) noexcept
    cdef int shrink_folio(
        self, int pfn, ScanControl sc, int node, int ignore_references, long long nr_pages
    )
    cdef int take_apart(self, int head)
    cdef int is_mapped(self, int pfn) noexcept
    cdef void note_dirty(self, int pfn, long long flags, long long nr_pages) noexcept
    cdef int meet_writeback(self, int pfn, ScanControl sc, int node, long long nr_pages)
    cdef int folio_check_references(self, int pfn, ScanControl sc)
    cdef int add_to_swap(self, int pfn)
    cdef int unmap(self, int pfn, long long entry, long long nr_pages)
    cdef int write_dirty(
        self, int pfn, ScanControl sc, int node, int references, long long nr_pages
    )
    cdef int shmem_to_swap_cache(self, int pfn)
    cdef int remove_mapping(self, int pfn, ScanControl sc, long long nr_pages)
    cdef int free(self, int pfn) noexcept
