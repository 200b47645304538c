cdef class FlusherThreads:
    cdef public long long nr_wakeups
    cpdef int wakeup_flusher_threads(self)
