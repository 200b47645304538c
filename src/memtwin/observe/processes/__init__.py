"""Processes below a /proc: their records, looking at all of them, and what that may cost.

Imports observe's line shapes and sources. Has never heard of views.
"""
