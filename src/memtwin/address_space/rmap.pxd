from memtwin.address_space.anon_vma cimport AnonVma, AnonVmas
from memtwin.address_space.mapped_files cimport MappedFiles
from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.vma cimport VMA
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.zone cimport Zones

cdef int MM_ANONPAGES
cdef int MM_FILEPAGES
cdef int MM_SHMEMPAGES
cdef int MM_SWAPENTS
cdef long long VM_LOCKED
cdef long long VM_SEQ_READ
cdef long long VM_SHARED
cdef int HPAGE_PAGES
cdef int HUGE_ENTRY
cdef int UNMAP_DONE
cdef int UNMAP_MLOCKED
cdef int UNMAP_REDIRTIED
cdef long long PTE_ACCESSED
cdef long long PTE_DIRTY
cdef long long PTE_PFN_MASK
cdef int PTE_PFN_SHIFT
cdef int PTE_PRESENT
cdef long long PTE_PSE
cdef long long PTE_RW
cdef int PTE_SPECIAL
cdef int PTE_SWAP_EXCLUSIVE
cdef int PTE_SWAP_SHIFT
cdef long long PG_ANON
cdef long long PG_ANON_EXCLUSIVE
cdef long long PG_DEFERRED_SPLIT
cdef long long PG_DIRTY
cdef long long PG_HEAD
cdef long long PG_SWAPBACKED
cdef long long PG_TAIL
cdef int NR_ANON_PAGES
cdef int NR_ANON_TRANSPARENT_HUGEPAGES
cdef int NR_MAPPED
cdef int THP_DEFERRED_SPLIT_PAGE
cdef int THP_SPLIT_PMD

cdef class Rmap:
    cdef public MemMap mem
    cdef public Zones zones
    cdef public MemcgTable memcg
    cdef public PageTables tables
    cdef public AnonVmas anon_vmas
    cdef public MappedFiles files
    cdef public long long vm_flags
    cdef public int nr_unmapped
    cdef int found_capacity
    cdef public int nr_found
    cdef public long long[::1] found_at
    cdef public long long[::1] found_vpn
    cdef public list found_vma
    cdef int node_of(self, int pfn) noexcept
    cdef void add_new_anon(self, int pfn, int anon_vma, long long index) noexcept
    cdef void add_anon(self, int pfn, int anon_vma, long long index, int exclusive) noexcept
    cpdef int root_of(self, int anon_vma)
    cdef void dup_anon(self, int pfn) noexcept
    cdef void add_file(self, int pfn) noexcept
    cdef void remove(self, int pfn) noexcept
    cdef void defer_split(self, int head) noexcept
    cdef int head_of(self, int pfn) noexcept
    cdef int total_mapcount_small(self, int pfn) noexcept
    cpdef int page_mapcount(self, int pfn)
    cdef int add_new_huge(self, int pfn, int anon_vma, long long index)
    cdef int dup_huge(self, int head)
    cdef int remove_huge(self, int head)
    cpdef int split_pmd(self, Mm mm, long long vpn)
    cpdef int collect(self, int pfn)
    cdef int _collect_small(self, int pfn, VMA vma)
    cdef int _collect_huge(self, int head, VMA vma)
    cdef int _note(self, long long at, long long vpn, VMA vma)
    cpdef int folio_referenced(self, int pfn, int memcg)
    cpdef int try_to_unmap(self, int pfn, long long swap_entry)
    cdef int _unmap_entry(self, int pfn, long long at, long long entry, Mm mm, long long swap_entry)
    cpdef int page_mkclean(self, int pfn)
