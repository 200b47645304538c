from memtwin.file_io.cache_pages cimport CachePages
from memtwin.file_io.dirty cimport Dirty
from memtwin.file_io.filemap cimport Filemap
from memtwin.file_io.open_file cimport OpenFile
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page_cache.buffer_head cimport BufferHeads
from memtwin.page_cache.mapping cimport Mapping
from memtwin.page_cache.page_cache cimport PageCache

cdef long long PG_LOCKED
cdef long long PG_PRIVATE
cdef long long PG_UPTODATE
cdef int NEED_OOM
cdef int GFP_WRITE_BEGIN

cdef class BufferedWrite:
    cdef public Filemap filemap
    cdef public CachePages pages
    cdef public MemMap mem
    cdef public PageCache page_cache
    cdef public Dirty dirty
    cdef public BufferHeads buffer_heads
    cdef public object objects
    cdef public object ext4
    cdef public object flusher
    cdef public object throttle
    cdef public Clock clock
    cdef public CostTable cost
    cpdef long long write(self, OpenFile file, long long offset, long long length)
    cdef int _write_begin(self, Mapping mapping, object inode, long long index, long long start,
        long long stop)
    cdef void _prepare(self, Mapping mapping, long long index, int pfn, long long start,
        long long stop)
    cdef void _write_end(self, Mapping mapping, int pfn)
    cpdef long long page_mkwrite(self, OpenFile file, long long index, int pfn)
