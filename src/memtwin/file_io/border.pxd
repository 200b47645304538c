from memtwin.hardware.clock cimport Clock
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.folio_io cimport FolioIo

cdef class Border:
    cdef public FolioIo folio_io
    cdef public VmStat vmstat
    cdef public Clock clock
    cpdef int count(self, int event, long long delta)
    cpdef int mod_node(self, int node, int item, long long delta)
    cpdef int spend(self, long long duration_ns)
    cpdef long long wait_until(self, long long time_ns, int why)
    cpdef int write_page(self, int device, int pfn, long long block)
