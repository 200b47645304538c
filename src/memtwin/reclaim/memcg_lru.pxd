from memtwin.memcg.table cimport MemcgTable
from memtwin.reclaim.lruvec cimport Lruvecs

cdef int MEMCG_LRU_TAIL
cdef int MEMCG_LRU_YOUNG
cdef int MEMCG_NR_GENS
cdef int SEG_NONE
cdef int SEG_TAIL

cdef class MemcgLru:
    cdef public Lruvecs lruvecs
    cdef public MemcgTable memcgs
    cdef public int nr_nodes
    cdef public long long[::1] seq
    cdef public signed char[::1] memcg_gen
    cdef public signed char[::1] seg
    cdef public list fifo
    cdef public int nr_known
    cdef void know_groups(self)
    cdef void rotate(self, int lruvec, int op)
