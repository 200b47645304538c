"""Owns where areas may lie in an address space, in pages. Imports nothing. Knows no behaviour."""

STACK_GUARD_GAP_PAGES = 256  # mm/mmap.c stack_guard_gap, v6.1
# arch/x86/include/asm/processor.h TASK_UNMAPPED_BASE, v6.1: a third of the address space
TASK_UNMAPPED_BASE_VPN = 0x2AAAAAAAA
MMAP_MIN_VPN = 16  # mm/Kconfig DEFAULT_MMAP_MIN_ADDR, v6.1: 64 KiB
