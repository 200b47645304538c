"""The C library's allocator above brk and mmap: glibc's malloc, chunk for chunk.

`build.new_heap` makes the simulated malloc of one process, `versions.rules_of` tells what differs
between versions of glibc. `reachability` says which blocks a program can still reach.
"""
