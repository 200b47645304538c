from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.memcg.charge cimport Charge
from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.reclaim.slowpath cimport Slowpath

cdef int CHARGE_OK
cdef int NEED_OOM
cdef int GFP_PGTABLE_USER
cdef int PGD_ORDER

cdef class TableAlloc:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Slowpath slowpath
    cdef public Charge charge
    cdef public PageAlloc page_alloc
    cpdef int frame(self, int memcg, int order)
    cpdef int give_back(self, int pfn)
    cpdef int uncharge(self, int pfn)
    cpdef int ensure(self, Mm mm, long long vpn, int leave)
    cpdef int give_pgd(self, Mm mm)
