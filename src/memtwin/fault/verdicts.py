"""Owns what a touch asks, what a fault answers, what a walk over entries does. Imports nothing.

include/linux/mm_types.h enum vm_fault_reason, v6.12. The bits combine; 0 is a minor fault that is
done.
"""

READ, WRITE, EXEC = 0, 1, 2  # kinds of touch, as traces store them

VM_FAULT_OOM = 1 << 0  # no memory: process/oom acts, then the touch is tried again
VM_FAULT_SIGBUS = 1 << 1
VM_FAULT_MAJOR = 1 << 2
VM_FAULT_SIGSEGV = 1 << 6
VM_FAULT_RETRY = 1 << 10  # the wait for I/O is over: the fault starts again
VM_FAULT_FALLBACK = 1 << 11  # a huge page was not to be had
VM_FAULT_ERROR = VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV

# what fault/page_walk does with each entry of a range
WALK_FREE, WALK_COLD, WALK_MLOCK, WALK_MUNLOCK, WALK_PROTECT, WALK_PAGEOUT, WALK_SWAPPED = range(7)
