from memtwin.file_io.cache_pages cimport CachePages
from memtwin.file_io.open_file cimport OpenFile
from memtwin.hardware.clock cimport Clock
from memtwin.hardware.cost cimport CostTable
from memtwin.page.mem_map cimport MemMap
from memtwin.page.vmstat cimport VmStat
from memtwin.page_cache.mapping cimport Mapping
from memtwin.page_cache.page_cache cimport PageCache
from memtwin.page_cache.readahead cimport Readahead
from memtwin.reclaim.folio_io cimport FolioIo
from memtwin.reclaim.lru cimport Lru

cdef int ADVICE_RANDOM
cdef int ADVICE_SEQUENTIAL
cdef int FIRST_TRY
cdef int VM_FAULT_MAJOR
cdef int VM_FAULT_OOM
cdef int VM_FAULT_RETRY
cdef int VM_FAULT_SIGBUS
cdef int STALL_FILE_READ
cdef long long PG_LOCKED
cdef long long PG_READAHEAD
cdef long long PG_UPTODATE
cdef long long PG_WORKINGSET
cdef long long PG_WRITEBACK
cdef int NEED_OOM
cdef int PGMAJFAULT
cdef int READ_WINDOW
cdef int NIL
cdef int GFP_READAHEAD
cdef int GFP_CACHE
cdef int MAP_ROOM

cdef class Filemap:
    cdef public CachePages pages
    cdef public MemMap mem
    cdef public PageCache page_cache
    cdef public Lru lru
    cdef public Readahead readahead
    cdef public FolioIo folio_io
    cdef public VmStat vmstat
    cdef public Clock clock
    cdef public CostTable cost
    cdef public int device
    cdef public int kernel
    cdef public int batch_size
    cdef public int fault_pfn
    cdef public int nr_found
    cdef public long long last_pos
    cdef public Mapping pinned
    cdef public long long pinned_index
    cdef public int nr_pinned
    cdef public int[::1] found_pfn
    cdef public long long[::1] found_index
    cpdef long long read(self, OpenFile file, long long offset, long long length)
    cpdef int begin_read(self, OpenFile file)
    cpdef long long read_batch(self, OpenFile file, long long offset, long long length)
    cpdef int end_read(self, OpenFile file)
    cdef void _unpin(self)
    cdef long long _read_batch(self, OpenFile file, long long offset, long long length)
    cpdef long long read_range(self, OpenFile file, long long offset, long long length,
        long long block_bytes)
    cdef int _scan(self, Mapping mapping, long long index, long long beyond)
    cdef int _get_pages(self, OpenFile file, long long index, long long beyond)
    cdef void _pin(self, Mapping mapping, long long index, int nr, int delta)
    cdef int _async(self, OpenFile file, int pfn, long long index, long long req)
    cdef void _read_window(self, Mapping mapping)
    cpdef long long read_pages(self, Mapping mapping, long long start, long long nr,
        long long lookahead)
    cdef void _start_read(self, Mapping mapping, long long index, int pfn)
    cdef void _read_page(self, Mapping mapping, long long index, int pfn)
    cpdef int read_for_write(self, Mapping mapping, long long index, int pfn)
    cpdef int fault(self, OpenFile file, long long index, int advice, int tried, int memcg_id)
    cdef int _async_mmap(self, OpenFile file, int pfn, long long index, int advice)
    cdef int _sync_mmap(self, OpenFile file, long long index, int advice, int tried)
    cpdef int map_pages(self, OpenFile file, long long start, long long end)
