# Types of columns as C sees them, for signatures and locals; a header alone, it has no source.
# In a `.py` the same names come from columns:
# `if not cython.compiled: from memtwin.columns import I8`.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t

ctypedef int8_t[::1] I1
ctypedef uint8_t[::1] U1
ctypedef int16_t[::1] I2
ctypedef int32_t[::1] I4
ctypedef int64_t[::1] I8
