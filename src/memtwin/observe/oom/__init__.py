"""Reports of the kernel's out-of-memory killer: lines of any log to typed records.

Imports observe's line shapes. What a report means is asked in analysis.
"""
