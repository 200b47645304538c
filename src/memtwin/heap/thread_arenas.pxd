from memtwin.heap.arenas cimport Arenas
from memtwin.heap.heaps cimport Heaps
from memtwin.heap.par cimport MallocPar
from memtwin.views cimport I4

cdef long long NARENAS_A_CORE
cdef int NO_ARENA

cdef class ThreadArenas:
    cdef Arenas arenas
    cdef Heaps heaps
    cdef MallocPar par
    cdef public I4 of_thread
    cdef public int free_list
    cdef public long long narenas
    cdef public long long narenas_limit
    cdef public int next_to_use
    cpdef int arena_for(self, long long thread, long long size) except? -1
    cpdef int arena_get2(self, long long thread, long long size) except? -1
    cdef int _new_arena(self, long long thread, long long size) except? -1
    cdef int _attach(self, long long thread, int arena) except? -1
    cdef void _remove_from_free_list(self, int arena)
    cpdef int retry(self, long long thread, int arena, long long size) except? -1
    cpdef void leave(self, long long thread)
