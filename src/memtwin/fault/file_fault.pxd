from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.rmap cimport Rmap
from memtwin.address_space.vma cimport VMA
from memtwin.fault.anonymous cimport AnonFault
from memtwin.file_io.buffered_write cimport BufferedWrite
from memtwin.file_io.filemap cimport Filemap
from memtwin.file_io.open_file cimport OpenFile
from memtwin.file_io.shmem cimport Shmem
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.reclaim.lru cimport Lru

cdef int MM_ANONPAGES
cdef int MM_FILEPAGES
cdef int MM_SHMEMPAGES
cdef long long VM_LOCKED
cdef long long VM_RAND_READ
cdef long long VM_SEQ_READ
cdef long long VM_SHARED
cdef long long VM_WRITE
cdef int VMA_FILE
cdef int VMA_PFNMAP
cdef int VMA_SHMEM
cdef int VMA_SPECIAL
cdef int VM_FAULT_ERROR
cdef int VM_FAULT_MAJOR
cdef int VM_FAULT_OOM
cdef int VM_FAULT_RETRY
cdef int WRITE
cdef int PTE_ACCESSED
cdef int PTE_DIRTY
cdef int PTE_PFN_SHIFT
cdef int PTE_RW
cdef int PTE_SPECIAL
cdef int PTRS_PER_TABLE
cdef long long PG_DIRTY
cdef long long PG_SWAPBACKED
cdef int ADVICE_NORMAL
cdef int ADVICE_RANDOM
cdef int ADVICE_SEQUENTIAL
cdef int FAULT_AROUND_PAGES

cdef class FileFault:
    cdef public MemMap mem
    cdef public PageTables tables
    cdef public Rmap rmap
    cdef public Lru lru
    cdef public Clock clock
    cdef public CostTable cost
    cdef public AnonFault anon
    cdef public Filemap filemap
    cdef public BufferedWrite writes
    cdef public Shmem shmem
    cdef public int pfn
    cdef int do_fault(self, VMA vma, long long vpn, long long at, int kind, int tried)
    cdef int fault_around(self, VMA vma, long long vpn, long long at)
    cdef int map_file(self, VMA vma, long long at, int pfn, long long bits)
    cpdef int place(self, int pfn, VMA vma, long long vpn, long long bits)
    cdef int get_page(self, VMA vma, long long vpn, int tried)
    cdef int read_fault(self, VMA vma, long long vpn, long long at, int tried)
    cdef int cow_fault(self, VMA vma, long long vpn, long long at, int tried)
    cdef int shared_fault(self, VMA vma, long long vpn, long long at, int tried)
    cdef int page_mkwrite(self, VMA vma, int pfn)
