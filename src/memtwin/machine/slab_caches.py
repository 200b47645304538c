"""Owns which slab caches a machine has: those of its start's slabinfo, else a kernel's own, empty.

Imports slab, page/boot_layout, observe/slabinfo and the shipped tables. Knows nothing of who uses
a cache.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources

from memtwin.observe.slabinfo import PATH, parse_slabinfo
from memtwin.page.boot_layout import BootPages
from memtwin.slab.slab_seed import SlabSeed, seed_cache
from memtwin.slab.slub import Slub


def boot_caches(slub: Slub, boot_pages: BootPages, texts: Mapping[str, str], kernel: int) -> None:
    """Make the caches that `texts` of a start show, or those of the nearest known kernel."""
    if PATH not in texts:
        # MODEL: a described machine begins with empty caches: what its boot left in them is part
        # of the memory that its description keeps for the kernel
        for name, (size_bytes, order, objs_per_slab) in shipped_caches(kernel).items():
            slub.create(name, size_bytes, order, objs_per_slab)
        return
    for row in parse_slabinfo(texts[PATH]):
        seed = SlabSeed(
            row.name,
            row.active_objs,
            row.num_objs,
            row.objsize_bytes,
            row.objs_per_slab,
            row.pages_per_slab,
            row.num_slabs,
        )
        seed_cache(slub, boot_pages, seed)


def shipped_caches(kernel: int) -> dict[str, tuple[int, int, int]]:
    """name -> (object bytes, order, objects a slab) of `kernel` (601 is 6.1), or one near it.

    >>> shipped_caches(601)["task_struct"]
    (6144, 3, 5)
    """
    name = "6.12.toml" if kernel >= 607 else "6.1.toml"
    text = (resources.files("memtwin") / "data" / "caches" / name).read_text()
    return {name: (row[0], row[1], row[2]) for name, row in tomllib.loads(text).items()}
