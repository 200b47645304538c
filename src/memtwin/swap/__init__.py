"""Swap: devices and their slots, the swap cache, what pages hold, zram on zsmalloc."""
