cdef int CONTENT_DEFAULT

cdef class PageContent:
    cdef public int default_class
    cdef public int in_use
    cdef public unsigned char[::1] content
    cpdef int set_content(self, int pfn, int content_class)
    cdef int of(self, int pfn) noexcept
