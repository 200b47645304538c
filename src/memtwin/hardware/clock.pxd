cdef class Clock:
    cdef public long long now_ns
    cdef public long long cpu_ns
    cdef public long long user_ns
    cdef public long long kthread_ns
    cdef public long long kswapd_ns
    cdef public long long beside_ns
    cdef public int many_tasks
    cdef public int must_yield
    cdef public long long slice_end_ns
    cdef public list stall_ns
    cdef void spend(self, long long duration_ns)
    cdef void spend_user(self, long long duration_ns)
    cdef long long wait_until(self, long long time_ns, int why)
    cdef void charge_stall(self, long long duration_ns, int why)
    cdef void go_back(self, long long now_ns, long long cpu_ns, list stall_ns, int must_yield)
