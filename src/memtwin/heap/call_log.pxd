from memtwin.views cimport I8

cdef int TOUCH

cdef class CallLog:
    cdef public long long rows
    cdef public long long event
    cdef public int keeps
    cdef public I8 kind
    cdef public I8 address
    cdef public I8 length
    cdef public I8 argument
    cdef public I8 result
    cdef public I8 event_of
    cdef public I8 counts
    cpdef void add(
        self, int kind, long long address, long long length, long long argument, long long result
    )
    cpdef void touched(self, long long address, long long length)
