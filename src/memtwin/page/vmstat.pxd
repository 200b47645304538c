cdef class VmStat:
    cdef public int nr_zones
    cdef public int nr_nodes
    cdef public long long[::1] zone_stat
    cdef public long long[::1] node_stat
    cdef public long long[::1] event
    cdef int _zone_items
    cdef int _node_items
    cdef void mod_zone(self, int zone_id, int item, long long delta) noexcept
    cdef void mod_node(self, int node, int item, long long delta) noexcept
    cpdef void count(self, int event, long long delta) noexcept
    cpdef long long zone_page_state(self, int zone_id, int item)
    cpdef long long node_page_state(self, int node, int item)
    cpdef long long global_zone_page_state(self, int item)
    cpdef long long global_node_page_state(self, int item)
