from memtwin.file_io.dirty cimport Dirty
from memtwin.page.mem_map cimport MemMap
from memtwin.page_cache.buffer_head cimport BufferHeads
from memtwin.page_cache.mapping cimport Mapping
from memtwin.page_cache.page_cache cimport PageCache
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.lru cimport Lru

cdef int STALL_DIRTY
cdef int STALL_FILE_READ
cdef long long PG_DIRTY
cdef long long PG_LOCKED
cdef long long PG_PRIVATE
cdef long long PG_WRITEBACK
cdef int SHMEM

cdef class Invalidate:
    cdef public MemMap mem
    cdef public PageCache page_cache
    cdef public BufferHeads buffer_heads
    cdef public Dirty dirty
    cdef public Lru lru
    cdef public FolioIo folio_io
    cpdef long long invalidate_mapping_pages(self, Mapping mapping, long long start, long long end)
    cpdef int evict_folio(self, Mapping mapping, long long index, int pfn)
    cpdef int truncate_page(self, Mapping mapping, long long index)
    cpdef long long truncate_pages(self, Mapping mapping, long long start, long long end)
