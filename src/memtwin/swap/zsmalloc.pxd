from memtwin.page.mem_map cimport MemMap
from memtwin.page.page_alloc cimport PageAlloc
from memtwin.page.vmstat cimport VmStat
from memtwin.page.zone cimport Zones
from memtwin.swap.slab_objects cimport SwapObjects

cdef int ALLOC_NO_WATERMARKS
cdef int CHAIN_ROOM
cdef int GROUPS_ROOM
cdef int NIL
cdef int NR_ZSPAGES
cdef long long PG_ZSPAGE
cdef int ZS_HANDLE
cdef int ZS_HANDLE_SIZE
cdef int ZS_MIN_ALLOC_SIZE
cdef int ZS_SIZE_CLASS_DELTA
cdef int ZS_SIZE_CLASSES
cdef int ZSPAGE

cdef class Zsmalloc:
    cdef public MemMap mem
    cdef public Zones zones
    cdef public VmStat vmstat
    cdef public PageAlloc page_alloc
    cdef public int by_tenths
    cdef public int max_chain
    cdef public long long pages_allocated
    cdef public int huge_class_size
    cdef public int gfp
    cdef public int nr_rows
    cdef public SwapObjects objects
    cdef public int free_row
    cdef public int[::1] class_of_size
    cdef public int[::1] class_size
    cdef public int[::1] class_pages
    cdef public int[::1] class_objects
    cdef public int[::1] group_first
    cdef public int[::1] zspage_class
    cdef public int[::1] zspage_inuse
    cdef public int[::1] zspage_next
    cdef public int[::1] zspage_prev
    cdef public int[::1] zspage_slab
    cdef public int[::1] zspage_frames
    cpdef int take_handle(self)
    cpdef int give_handle(self, int slab)
    cdef int _group(self, int zspage) noexcept
    cdef void _insert(self, int zspage, int group) noexcept
    cdef void _remove(self, int zspage, int group) noexcept
    cpdef int malloc(self, int size_bytes)
    cdef void _regroup(self, int zspage, int old)
    cdef int _new_zspage(self, int size_class)
    cdef void _free_frame(self, int pfn)
    cpdef void free(self, int zspage)
