"""Owns the numbers of the file rooms. Imports nothing. Knows no behaviour."""

# verdicts of a fault on a file: include/linux/mm_types.h enum vm_fault_reason, v6.12
VM_FAULT_OOM = 0x1
VM_FAULT_SIGBUS = 0x2
VM_FAULT_MAJOR = 0x4
VM_FAULT_RETRY = 0x400

# how a mapped area says it will be read (VM_RAND_READ, VM_SEQ_READ)
ADVICE_NORMAL, ADVICE_RANDOM, ADVICE_SEQUENTIAL = range(3)
FIRST_TRY, SECOND_TRY = range(2)  # FAULT_FLAG_TRIED is not, is set

SYNC_NONE, SYNC_ALL = range(2)  # include/linux/writeback.h enum writeback_sync_modes, v6.12
EVERYTHING = 1 << 62  # more pages than there are
