from memtwin.page_cache.mapping cimport Mapping

cdef int MMAP_LOTSAMISS
cdef int READ_NOTHING
cdef int READ_WINDOW

cdef class FileRa:
    cdef public long long start
    cdef public long long size
    cdef public long long async_size
    cdef public long long ra_pages
    cdef public long long prev_pos
    cdef public int mmap_miss
    cdef public int random_mode

cdef class Readahead:
    cdef public int kernel
    cdef public long long io_pages
    cdef public long long start
    cdef public long long nr
    cdef public long long lookahead
    cdef long long _max_pages(self, FileRa ra, long long req) noexcept
    cdef long long _init_size(self, long long req, long long most) noexcept
    cdef long long _next_size(self, FileRa ra, long long most) noexcept
    cdef int _decide(self, long long start, long long nr, long long lookahead)
    cdef int _submit(self, FileRa ra, long long index, long long most)
    cdef int _initial(self, FileRa ra, long long index, long long req, long long most)
    cpdef int sync_readahead(self, Mapping mapping, FileRa ra, long long index, long long req)
    cdef int _context(self, Mapping mapping, FileRa ra, long long index, long long req,
        long long most)
    cdef int _advance(self, FileRa ra, long long index, long long most)
    cpdef int async_readahead(self, Mapping mapping, FileRa ra, long long index, long long req)
    cpdef int mmap_readahead(self, Mapping mapping, FileRa ra, long long index, int sequential)
