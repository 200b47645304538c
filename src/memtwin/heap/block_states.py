"""Owns the states of a block in a search for leaks, as numbers.

Imports nothing. Knows nothing of the search.
"""

from __future__ import annotations

UNREACHED = 0  # in the end: definitely lost
INDIRECT = 1  # a lost block points to it
POSSIBLE = 2  # every chain from the roots has a pointer into the inside of a block
REACHABLE = 3  # a chain of pointers to starts leads to it
IN_REGISTER = 1  # where a pointer was found that stands at no address; 0: nowhere
