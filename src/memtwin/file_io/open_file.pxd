from memtwin.page_cache.mapping cimport Mapping
from memtwin.page_cache.readahead cimport FileRa

cdef class OpenFile:
    cdef public int id
    cdef public Mapping mapping
    cdef public FileRa ra
    cdef public object inode
    cdef public int writable
    cdef public int users
