"""Address spaces: areas, page tables, reverse mapping, resident counters."""
