cdef int MOST_DIGITS
cdef long long MOST_KIB
cdef long long PF_KTHREAD
cdef long long RSS_CODE
cdef long long PSS_CODE
cdef long long PRIVATE_CLEAN_CODE
cdef long long PRIVATE_DIRTY_CODE
cdef long long SWAP_CODE
cdef long long SWAP_PSS_CODE
cdef long long PRIVATE_HUGETLB_CODE
cdef long long SHARED_HUGETLB_CODE

cpdef object process_of_stat(bytes data, long long page_bytes)
cpdef object figures_of_smaps(bytes data)
cdef long long _added(long long figure, bytes data, Py_ssize_t at) except -1
cdef long long _kib_at(bytes data, Py_ssize_t at) except -1
cdef int _require_possible(long long pid, long long ppid, long long threads) except -1
