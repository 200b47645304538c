from memtwin.page.vmstat cimport VmStat

cdef int GFP_KERNEL
cdef int SLABS_SCANNED

cdef class Shrinker:
    cdef public str name
    cdef public int seeks
    cdef public int batch
    cdef public int memcg_aware
    cdef public long long nr_deferred
    cdef public long long nr_scanned
    cdef public long long reclaimed_pages
    cpdef long long count_objects(self, int node, int memcg)
    cpdef long long scan_objects(self, long long nr_to_scan, int node, int memcg, int gfp)

cdef class Shrinkers:
    cdef public VmStat vmstat
    cdef public list all
    cdef public long long reclaimed_slab
    cpdef long long shrink_slab(self, int gfp, int node, int memcg, int priority)
    cdef long long do_shrink_slab(
        self, Shrinker shrinker, int gfp, int node, int memcg, int priority
    )
    cpdef long long drop_slab(self)
    cpdef long long take_reclaimed(self)
