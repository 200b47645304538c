"""The twin as a source of texts: its rooms' state as the /proc and /sys of a kernel.

`source` answers for a path, `tree` lays all of them out; the others each own some files.
"""
