from memtwin.memcg.charge cimport Charge
from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc

cdef int CHARGE_OK
cdef int GFP_HIGHUSER_MOVABLE
cdef int NEED_OOM
cdef int NIL

cdef class Slowpath:
    cdef public MemMap mem
    cdef public PageAlloc page_alloc
    cdef public Charge charge
    cdef public int oom_memcg_id
    cpdef int alloc_page(self, int gfp, int order)
    cdef int alloc_slowly(self, int gfp, int order)
    cpdef int charge_page(self, int pfn, int memcg, int gfp)
    cpdef int try_charge(self, int memcg, int nr_pages, int gfp)
    cpdef int charge_kmem(self, int memcg, int nr_pages, int gfp)
    cpdef int alloc_anon(self, int memcg)
