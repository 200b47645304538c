from memtwin.address_space.mm cimport Mm
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.zone cimport Zones

cdef int HUGE_ENTRY
cdef int LEVEL_PGD
cdef int NO_TABLE
cdef int PTE_ACCESSED
cdef int PTE_PFN_SHIFT
cdef int PTE_PRESENT
cdef int PTE_PSE
cdef int PTE_RW
cdef int PTE_USER
cdef int TABLE_SHIFT
cdef long long PG_TABLE
cdef int NR_PAGE_TABLE_PAGES
cdef int _ROWS

cdef class PageTables:
    cdef public MemMap mem
    cdef public Zones zones
    cdef public MemcgTable memcg
    cdef int counted_levels
    cdef int capacity
    cdef public int nr_tables
    cdef public long long[::1] pte
    cdef public int[::1] table_pfn
    cdef public signed char[::1] table_level
    cdef public long long[::1] table_parent
    cdef public long long[::1] table_vpn
    cdef public list unused
    cdef public dict deposits
    cdef public int generation
    cdef long long lookup(self, int pgd, long long vpn) noexcept
    cdef long long lookup_pmd(self, int pgd, long long vpn) noexcept
    cpdef long long find(self, Mm mm, long long vpn)
    cpdef long long entry(self, Mm mm, long long vpn)
    cpdef int missing_tables(self, Mm mm, long long vpn)
    cdef int new_table(self, int pfn, int level, long long vpn)
    cdef int _grow(self)
    cpdef int install_pgd(self, Mm mm, int pfn)
    cpdef int install_table(self, Mm mm, long long vpn, int pfn)
    cpdef long long install_huge(self, Mm mm, long long vpn, long long entry, int table_pfn)
    cpdef int split_huge(self, long long at)
    cpdef int clear_huge(self, Mm mm, long long at)
    cdef int _count(self, int pfn, int level, long long delta)
    cpdef int forget_table(self, Mm mm, int table)
