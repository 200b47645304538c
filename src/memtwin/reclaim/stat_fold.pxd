from memtwin.hardware.clock cimport Clock
from memtwin.memcg.table cimport MemcgTable
from memtwin.reclaim.lruvec cimport Lruvecs

cdef long long FLUSH_PERIOD_NS
cdef int MEMCG_CHARGE_BATCH

cdef class StatFold:
    cdef Lruvecs lruvecs
    cdef MemcgTable memcgs
    cdef Clock clock
    cdef int kernel
    cdef public long long threshold
    cdef int phase_ppm
    cdef public long long work_at_ns
    cdef public long long flushed_at_ns
    cdef public long long read_every_ns
    cdef public long long read_at_ns
    cdef public long long nr_folds
    cpdef int read_every(self, long long period_ns)
    cpdef long long next_ns(self)
    cpdef int look(self)
    cdef void before_reclaim(self)
    cdef void before_refault(self)
    cdef void fold_if_late(self)
    cdef void fold(self)
