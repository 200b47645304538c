"""Faults: what a touch of a page does, from a hit to a swap-in."""
