from memtwin.heap.heap cimport Heap
from memtwin.views cimport I8, U1

cdef long long CHUNK_HDR_SZ
cdef int OP_MALLOC
cdef int OP_FREE
cdef int OP_REALLOC
cdef int OP_CALLOC

cdef class EventRunner:
    cdef readonly Heap heap
    cdef public I8 row_of_slot
    cdef public I8 size_of_slot
    cdef readonly long long events
    cdef readonly long long failures
    cdef readonly long long live_bytes
    cdef readonly long long live_blocks
    cdef readonly long long live_peak
    cdef readonly long long zeroed_bytes
    cdef readonly long long copied_bytes
    cpdef long long run(
        self, U1 ops, I8 slots, I8 sizes, I8 arguments, long long start, long long end
    ) except? -1
    cpdef long long run_recorded(
        self, U1 ops, I8 slots, I8 sizes, I8 arguments, I8 addresses, I8 usable
    ) except? -1
    cpdef long long step(
        self, int op, long long slot, long long size, long long argument
    ) except? -1
    cdef long long _realloc(self, long long slot, long long p, long long size) except? -1
    cdef int _count(self, long long slot, long long size) except? -1
