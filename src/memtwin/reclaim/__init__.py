"""Reclaim: LRU lists, the retry loop of allocation, vmscan and multi-gen LRU, kswapd, page I/O."""
