"""Processes: tasks, fork and exit, mmap and its kin, out of memory, what /proc says of a task."""
