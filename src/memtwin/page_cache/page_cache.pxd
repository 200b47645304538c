from memtwin.memcg.table cimport MemcgTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zones
from memtwin.page_cache.mapping cimport Mapping

cdef long long PG_DIRTY
cdef long long PG_SWAPBACKED
cdef int NR_FILE_PAGES
cdef int NR_SHMEM
cdef int WORKINGSET_NODES
cdef int SHMEM

cdef class PageCache:
    cdef public MemMap mem
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public MemcgTable memcg
    cdef public list mappings
    cdef public int nr_nodes
    cdef public int spare_nodes
    cdef public object shadow_nodes
    cpdef int new_mapping(self, long long ino, int kind, long long size_bytes)
    cpdef Mapping mapping(self, int mapping_id)
    cpdef int drop_mapping(self, int mapping_id)
    cdef int _node_of(self, int pfn)
    cpdef int node_shortage(self, Mapping mapping, long long index)
    cdef int _store(self, Mapping mapping, long long index, long long entry)
    cdef int _erase(self, Mapping mapping, long long index)
    cdef int _note_shadows(self, Mapping mapping, long long index, int was)
    cpdef long long add_to_page_cache(self, Mapping mapping, long long index, int pfn)
    cpdef int delete_from_page_cache(self, Mapping mapping, long long index, long long shadow)
    cdef int _take_out(self, Mapping mapping, long long index)
    cpdef int replace_by_swap(self, Mapping mapping, long long index, long long entry)
    cpdef long long erase_value(self, Mapping mapping, long long index)
    cpdef int find_get_entry(self, Mapping mapping, long long index)
    cpdef int reclaim_shadow_node(self)
