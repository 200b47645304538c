"""Owns the numbers of the page cache room. Imports nothing. Knows no behaviour."""

FILE, SHMEM, BLOCK_DEVICE = range(3)  # kinds of mapping
KINDS = ("file", "shmem", "block device")
NODE_SHIFT = 6  # include/linux/xarray.h XA_CHUNK_SHIFT, v6.12

DEFAULT_RA_PAGES = 32  # include/linux/pagemap.h VM_READAHEAD_PAGES (128 KiB), v6.12
MMAP_LOTSAMISS = 100  # mm/filemap.c MMAP_LOTSAMISS, v6.12
READ_NOTHING, READ_WINDOW = range(2)  # verdicts of Readahead

# states of a metadata block: the first bit of each in `mem.private`
READ, DIRTY, RUNNING, CHECKPOINT, HELD = 0, 4, 8, 12, 16
BLOCK_BITS = 15  # at most four blocks a page
