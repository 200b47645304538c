from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.reclaim.lruvec cimport Lruvecs

cdef int HEAD_SIDE
cdef int MLOCK_NEW
cdef int NR_MLOCK
cdef long long PG_ACTIVE
cdef long long PG_LRU
cdef long long PG_MLOCKED
cdef long long PG_UNEVICTABLE
cdef int UNEVICTABLE_PGS_CULLED
cdef int UNEVICTABLE_PGS_MLOCKED
cdef int UNEVICTABLE_PGS_MUNLOCKED
cdef int UNEVICTABLE_PGS_RESCUED
cdef int UNEVICTABLE_PGS_STRANDED

cdef class Mlock:
    cdef public MemMap mem
    cdef public Lruvecs lruvecs
    cdef public VmStat vmstat
    cdef void count_mlocked(self, int pfn) noexcept
    cdef void mlock_now(self, int pfn, int what)
    cdef void munlock_now(self, int pfn)
