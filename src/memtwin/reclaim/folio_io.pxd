from memtwin.hardware.block_device cimport BlockDevice
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.lru cimport Lru

cdef int IO_READ
cdef int IO_WRITE
cdef int NR_THROTTLED_WRITTEN
cdef int NR_WRITEBACK
cdef int NR_WRITTEN
cdef int NR_ZONE_WRITE_PENDING
cdef int PGPGIN
cdef int PGPGOUT
cdef long long PG_LOCKED
cdef long long PG_RECLAIM
cdef long long PG_UPTODATE
cdef long long PG_WRITEBACK
cdef int STALL_RECLAIM
cdef int SWAP_CLUSTER_MAX
cdef long long THROTTLE_JIFFY_NS

cdef class FolioIo:
    cdef public MemMap mem
    cdef public VmStat vmstat
    cdef public Clock clock
    cdef public CostTable cost
    cdef public Lru lru
    cdef public MemcgTable memcgs
    cdef public list devices
    cdef public int nr_throttled
    cpdef int submit_read(self, int device, int pfn, long long block)
    cpdef int submit_write(self, int device, int pfn, long long block)
    cdef void submit(self, BlockDevice disk, int op, int pfn, long long block)
    cpdef long long submit_raw(self, int device, int op, long long block, int nr_pages)
    cpdef int unplug(self)
    cdef void start_writeback(self, int pfn)
    cpdef int end_writeback(self, int pfn)
    cpdef int end_read(self, int pfn)
    cpdef long long next_end_ns(self)
    cpdef int run_completions(self, long long now_ns)
    cdef void complete(self, long long entry)
    cpdef long long wait_on_folio(self, int pfn, int why)
    cpdef long long wait_on_writeback(self, int pfn, int why)
    cdef long long wait_on_bit(self, int pfn, long long bit, int why)
    cdef long long room_at_ns(self)
    cdef void wait_for_room(self)
    cdef void throttle_on_writeback(self, int node)
    cpdef long long nr_under_way(self, int device)
