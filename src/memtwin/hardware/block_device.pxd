cdef class BlockDevice:
    cdef public str name
    cdef public long long latency_ns
    cdef public long long bytes_per_s
    cdef public long long write_bytes_per_s
    cdef public long long iops
    cdef public int rotational
    cdef public long long burst_ns
    cdef public int max_request_pages
    cdef public int nr_requests
    cdef public int nr_in_flight
    cdef public long long bytes_until_ns
    cdef public long long ops_until_ns
    cdef public long long nr_reads
    cdef public long long nr_writes
    cdef public long long pages_read
    cdef public long long pages_written
    cdef public long long ring_room
    cdef public long long head
    cdef public long long tail
    cdef public int plugged
    cdef public int plugged_pages
    cdef int plugged_op
    cdef long long plugged_next_block
    cdef public int[::1] ring_pfn
    cdef public signed char[::1] ring_op
    cdef public long long[::1] ring_end_ns
    cdef public signed char[::1] ring_last
    cpdef int submit(self, long long now_ns, int op, int pfn, long long block, int nr_pages)
    cpdef long long issue(self, long long now_ns)
    cdef long long _serve(self, long long now_ns, int op, long long nr_pages) noexcept
    cpdef long long next_end_ns(self)
    cdef int is_full(self) noexcept
    cdef long long take(self) noexcept
