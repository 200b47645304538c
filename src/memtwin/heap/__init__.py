"""The C library's heap: which of its blocks a program can still reach (`reachability`)."""
