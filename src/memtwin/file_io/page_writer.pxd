from memtwin.address_space.rmap cimport Rmap
from memtwin.file_io.dirty cimport Dirty
from memtwin.page.mem_map cimport MemMap
from memtwin.page_cache.mapping cimport Mapping
from memtwin.reclaim.folio_io cimport FolioIo

cdef int STALL_DIRTY
cdef int SYNC_NONE
cdef long long PG_DIRTY
cdef long long PG_WRITEBACK

cdef class PageWriter:
    cdef public MemMap mem
    cdef public Dirty dirty
    cdef public Rmap rmap
    cdef public FolioIo folio_io
    cdef public int device
    cdef public long long nr_mapped
    cdef public long long next_index
    cpdef long long write_range(self, Mapping mapping, long long start, long long end,
        long long most, int sync)
    cdef int _write_one(self, Mapping mapping, long long index, int sync)
    cpdef long long wait_range(self, Mapping mapping, long long start, long long end)
