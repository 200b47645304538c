# Asks the processor for a row before it is needed; a header alone, it has no source.
# In a `.py` the same name comes from columns, where it does nothing:
# `if not cython.compiled: from memtwin.columns import fetch`.
from memtwin.views cimport I8

cdef extern from *:
    """
    #define MEMTWIN_FETCH(column, row) __builtin_prefetch((column).data + 8 * (row))
    """
    void fetch "MEMTWIN_FETCH" (I8 column, long long row) noexcept
