from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.swap.content cimport PageContent
from memtwin.swap.swap cimport Swap
from memtwin.swap.swap_device cimport SwapDevice
from memtwin.swap.zram cimport Zram

cdef int CONTENT_DEFAULT
cdef int CONTENT_ZERO
cdef int NR_WRITTEN
cdef long long PG_DIRTY
cdef int PGPGIN
cdef int PGPGOUT
cdef int PSWPIN
cdef int PSWPOUT
cdef int STALL_SWAP_IN
cdef int ZRAM

cdef class SwapIo:
    cdef public MemMap mem
    cdef public VmStat vmstat
    cdef public Clock clock
    cdef public CostTable cost
    cdef public Tunables tunables
    cdef public MemcgTable memcgs
    cdef public Swap swap
    cdef public PageContent content
    cdef public FolioIo folio_io
    cpdef int swap_writepage(self, int pfn)
    cdef void count(self, int event, int memcg) noexcept
    cpdef int swap_readpage(self, int pfn, long long entry)
