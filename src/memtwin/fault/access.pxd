from memtwin.address_space.mm cimport Mm
from memtwin.address_space.page_table cimport PageTables
from memtwin.address_space.vma cimport VMA
from memtwin.address_space.vma_tree cimport VmaTree
from memtwin.fault.anonymous cimport AnonFault
from memtwin.fault.cow cimport Cow
from memtwin.fault.file_fault cimport FileFault
from memtwin.fault.swapin cimport SwapFault
from memtwin.fault.table_alloc cimport TableAlloc
from memtwin.fault.thp cimport Thp
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.memcg.table cimport MemcgTable
from memtwin.page.tunables cimport Tunables
from memtwin.page.vmstat cimport VmStat
from memtwin.views cimport I1, I8

cdef long long VM_ACCESS
cdef long long VM_EXEC
cdef long long VM_GROWSDOWN
cdef long long VM_LOCKED
cdef long long VM_WRITE
cdef int VMA_ANON
cdef int EXEC
cdef int VM_FAULT_ERROR
cdef int VM_FAULT_FALLBACK
cdef int VM_FAULT_MAJOR
cdef int VM_FAULT_OOM
cdef int VM_FAULT_RETRY
cdef int VM_FAULT_SIGBUS
cdef int VM_FAULT_SIGSEGV
cdef int WRITE
cdef int HUGE_ENTRY
cdef int PTE_ACCESSED
cdef int PTE_DIRTY
cdef int PTE_PRESENT
cdef int PTE_RW
cdef int PTE_USER
cdef int TABLE_SHIFT
cdef int PGFAULT
cdef int _MAX_PASSES
cdef int _NO_BLOCK

cdef class Access:
    cdef public PageTables tables
    cdef public Clock clock
    cdef public CostTable cost
    cdef public Tunables tunables
    cdef public VmStat vmstat
    cdef public AnonFault anon
    cdef public FileFault file
    cdef public Cow cow
    cdef public SwapFault swap_fault
    cdef public Thp thp
    cdef public TableAlloc table_alloc
    cdef public MemcgTable memcg
    cdef public long long stack_limit_pages
    cdef public int verdict
    cdef int count_first
    cdef int _pgd
    cdef long long _block
    cdef long long _base
    cdef int _generation
    cdef int _oom_mm
    cdef long long _oom_vpn
    cdef VMA _area
    cpdef int spend(self, long long duration_ns)
    cpdef int touch(self, Mm mm, long long vpn, int kind)
    cdef int hit(self, int pgd, long long vpn, int kind) noexcept
    cdef int find_table(self, int pgd, long long vpn) noexcept
    cdef int miss(self, Mm mm, long long vpn, int kind)
    cdef int write_fast(self, Mm mm, long long vpn, long long spent_ns)
    cdef void remember(self, VMA vma) noexcept
    cpdef int handle_fault(self, Mm mm, long long vpn, int kind)
    cdef void stop_for_memory(self, Mm mm, long long vpn) noexcept
    cdef int count_fault(self, Mm mm)
    cdef VMA area(self, Mm mm, long long vpn)
    cdef int allowed(self, VMA vma, int kind)
    cdef int handle_mm_fault(self, VMA vma, long long vpn, int kind, int tried)
    cdef int fault_in_batch(self, Mm mm, long long vpn, int kind, long long spent_ns)
    cpdef long long touch_seq(
        self, Mm mm, long long base_vpn, long long first, long long stride, long long modulo,
        long long start, long long count, int kind
    )
    cpdef long long touch_list(self, Mm mm, I8 vpns, long long start, long long end, int kind)
    cpdef long long touch_many(self, Mm mm, I8 vpns, I1 kinds, long long start, long long end)
