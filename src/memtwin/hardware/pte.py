"""Owns the bits of a page table entry of x86-64, and the twin's form of a swap entry.

Imports nothing. Knows nothing of who writes entries. Bits: arch/x86/include/asm/pgtable_types.h,
v6.12. An entry is a signed 64-bit number, so PTE_NX (bit 63) makes it negative: test bits, mask
before shifting.
"""

PTE_PRESENT = 1 << 0
PTE_RW = 1 << 1
PTE_USER = 1 << 2
PTE_PWT = 1 << 3
PTE_PCD = 1 << 4
# DIFFERS: each access sets the bit; there is no TLB here, where a CPU sets it as it loads a
# translation and leaves it while that stays in its TLB; reclaim of programs whose pages fit a large
# TLB that nobody else uses: pages in use leave, up to three times the major faults
PTE_ACCESSED = 1 << 5
PTE_DIRTY = 1 << 6
PTE_PSE = 1 << 7  # in a PMD: maps 2 MiB
PTE_GLOBAL = 1 << 8
PTE_SPECIAL = 1 << 9  # no mem_map row is counted for it: the zero page, vvar
PTE_NX = -(1 << 63)

PTE_PFN_SHIFT = 12
PTE_PFN_MASK = (1 << 40) - 1  # after shifting

# MODEL: a swap entry (never 0) is shifted left as a pfn is. PTE_PRESENT is clear; bit 1 marks the
# entry as exclusive to its process (the kernel's _PAGE_SWP_EXCLUSIVE).
PTE_SWAP_EXCLUSIVE = 1 << 1
PTE_SWAP_SHIFT = 12
PTE_SWAP_MASK = (1 << 50) - 1

PTRS_PER_TABLE = 512
HPAGE_PAGES = 512  # small pages that a PMD entry with PTE_PSE maps
TABLE_SHIFT = 9  # index bits a level
LEVEL_PTE, LEVEL_PMD, LEVEL_PUD, LEVEL_PGD = 0, 1, 2, 3
NO_TABLE = -1  # a lookup met no table where it needed one
HUGE_ENTRY = -2  # a lookup of a PTE met a 2 MiB entry
# arch/x86/include/asm/page_64_types.h TASK_SIZE_MAX, v6.1: one guard page below 2^47
TASK_SIZE_VPN = 0x7FFFFFFFF


def make_pte(pfn: int, bits: int) -> int:
    """The entry that maps frame `pfn` with `bits`.

    >>> hex(make_pte(0x1234, PTE_PRESENT | PTE_RW))
    '0x1234003'
    """
    return (pfn << PTE_PFN_SHIFT) | bits


def pte_pfn(pte: int) -> int:
    """Frame that a present entry maps."""
    return (pte >> PTE_PFN_SHIFT) & PTE_PFN_MASK


def swap_pte(entry: int, bits: int) -> int:
    """The entry that says: this page is in swap slot `entry`; `bits` is 0 or PTE_SWAP_EXCLUSIVE."""
    return (entry << PTE_SWAP_SHIFT) | bits


def pte_swap_entry(pte: int) -> int:
    """Swap slot of an entry that is not present and not 0."""
    return (pte >> PTE_SWAP_SHIFT) & PTE_SWAP_MASK
