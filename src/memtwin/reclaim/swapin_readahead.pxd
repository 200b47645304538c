from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.vma cimport VMA
from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.slowpath cimport Slowpath
from memtwin.reclaim.swap_io cimport SwapIo
from memtwin.reclaim.workingset cimport Workingset
from memtwin.swap.swap cimport Swap
from memtwin.swap.swap_device cimport SwapDevice

cdef int GFP_HIGHUSER_MOVABLE
cdef int GFP_KERNEL
cdef int NIL
cdef int STALL_SWAP_IN
cdef long long PG_LOCKED
cdef long long PG_READAHEAD
cdef long long PG_SWAPBACKED
cdef int PTE_PRESENT
cdef long long PTE_SWAP_MASK
cdef int PTE_SWAP_SHIFT
cdef int SWAP_RA
cdef int SWAP_RA_HIT
cdef int SWAP_RA_HITS_MAX
cdef int SWAP_RA_ORDER_CEILING
cdef int SWAP_TYPE_SHIFT
cdef int TABLE_SHIFT
cdef long long VM_RAND_READ
cdef long long VM_SEQ_READ

cdef class SwapRa:
    cdef public long long vpn
    cdef public int window
    cdef public int hits

cdef class SwapIn:
    cdef public MemMap mem
    cdef public VmStat vmstat
    cdef public Tunables tunables
    cdef public Swap swap
    cdef public SwapIo swap_io
    cdef public FolioIo folio_io
    cdef public Lru lru
    cdef public Workingset workingset
    cdef public Slowpath slowpath
    cdef public PageTables tables
    cdef public int hits
    cdef public long long prev_offset
    cdef public int last_window
    cdef public int made
    cdef int by_area(self) noexcept
    cdef SwapRa state_of(self, VMA vma)
    cpdef int lookup(self, long long entry, VMA vma, long long vpn)
    cpdef int swapin(self, long long entry, VMA vma, long long vpn)
    cpdef int swapin_shmem(self, long long entry, int memcg)
    cdef int new_page(self, long long entry, int memcg)
    cdef int read_directly(self, long long entry, int memcg)
    cdef int read_into_cache(self, long long entry, int memcg)
    cdef void read_neighbour(self, long long entry, int memcg, long long wanted)
    cdef int window_size(self, long long prev, long long at, int hits, int most, int last) noexcept
    cdef int read_cluster(self, long long entry, int memcg)
    cdef int read_alone(self, long long entry, int memcg)
    cdef int read_area(self, long long entry, VMA vma, long long vpn)
    cdef void read_window(
        self, long long first, long long end, long long entry, VMA vma, long long vpn
    )
