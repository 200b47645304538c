from memtwin.page.pcp cimport PerCpuPages
from memtwin.page.tunables cimport Tunables
from memtwin.page.zone cimport Zones

cdef class Pagesets:
    cdef public Zones zones
    cdef public Tunables tunables
    cdef public int kernel
    cdef public list cpu_nodes
    cdef public int nr_cpus
    cdef public list pcps
    cpdef PerCpuPages pcp_of(self, int zone_id, int cpu)
    cpdef int drain_pcp(self, int cpu)
    cpdef int drain_all_pages(self)
    cpdef int refresh_cpu_vm_stats(self, int cpu)
