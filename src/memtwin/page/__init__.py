"""Frames: mem_map columns, zones, buddy, per-CPU lists, the allocator's fast path."""
