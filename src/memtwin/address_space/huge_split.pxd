from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat

cdef int HPAGE_PAGES
cdef int PTE_PSE
cdef long long PG_ANON_EXCLUSIVE
cdef long long PG_HEAD
cdef long long PG_SWAPCACHE
cdef int THP_SPLIT_PAGE
cdef int THP_SPLIT_PAGE_FAILED
cdef long long SHARED_FLAGS

cdef class HugeSplit:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Rmap rmap
    cdef public VmStat vmstat
    cpdef int split(self, int head)
    cpdef int part(self, int head)
    cdef long long mappings(self, int head)
