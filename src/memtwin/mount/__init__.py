"""Front desk of mount: a twin as files, and programs that take them for a real machine's.

- `open_result`: a result file, a script, a recording or a tree, as something to show
- `write_tree`: its files as a plain directory
- `mount_tree`: its files as a live file system (FUSE) until it is unmounted
- `run_inside`: a program whose /proc and /sys are the twin's

Imports machine, workload and sweep's guardian. Knows nothing of command lines.
"""

from memtwin.mount.inside import run_inside
from memtwin.mount.opened import open_result
from memtwin.mount.serve import mount_tree
from memtwin.mount.wanted import Opened
from memtwin.mount.written import write_tree

__all__ = ["Opened", "mount_tree", "open_result", "run_inside", "write_tree"]
