from memtwin.page.mem_map cimport MemMap
from memtwin.page_cache.mapping cimport Mapping
from memtwin.page_cache.page_cache cimport PageCache
from memtwin.reclaim.lru cimport Lru
from memtwin.reclaim.slowpath cimport Slowpath
from memtwin.reclaim.workingset cimport Workingset

cdef int RADIX_NODE
cdef int CHARGE_OK
cdef long long PG_LOCKED
cdef int GFP_WRITE
cdef int NEED_OOM

cdef class CachePages:
    cdef public MemMap mem
    cdef public PageCache page_cache
    cdef public Slowpath slowpath
    cdef public Lru lru
    cdef public Workingset workingset
    cdef public object objects
    cdef public int memcg_id
    cpdef int add_new(self, Mapping mapping, long long index, int gfp)
