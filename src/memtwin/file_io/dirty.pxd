from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zones
from memtwin.page_cache.mapping cimport Mapping

cdef long long PG_DIRTY
cdef long long PG_RECLAIM
cdef int NR_DIRTIED
cdef int NR_DIRTY
cdef int NR_ZONE_WRITE_PENDING
cdef int SHMEM

cdef class Dirty:
    cdef public MemMap mem
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public MemcgTable memcg
    cdef public long long nr_dirtied
    cdef public list newly_dirty
    cdef int _node_of(self, int zone_id)
    cpdef int folio_mark_dirty(self, Mapping mapping, int pfn)
    cpdef int clear_dirty(self, Mapping mapping, int pfn)
