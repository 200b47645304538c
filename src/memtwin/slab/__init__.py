"""Kernel objects: caches of slabs as SLUB keeps them. `slub.Slub` is the face."""
