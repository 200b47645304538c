"""Owns what differs between glibc 2.31 and 2.41: one line of rules a version.

Imports errors only. Knows nothing of arenas. A version stands for its release branch as it is
shipped by distributions, with what was mended there: the first tarball of 2.37 kept blocks as they
were at every shrinking realloc, the first of 2.38 searched bins in memalign.
"""

from __future__ import annotations

from dataclasses import dataclass

from memtwin.errors import UserError

NEWEST = "2.41"
INSTALLED_TRUTH = "2.36"  # the default; docs/HEAP.md says which were held against builds


@dataclass(frozen=True)
class Rules:
    """The differences, as 0 or 1 unless a unit stands in the name."""

    version: str
    # malloc/arena.c struct _heap_info: 4 words before glibc 2.35, 5 and padding since
    heap_info_bytes: int
    # elf/dl-tunables.c tunables_strdup(), glibc 2.31 to 2.34: GLIBC_TUNABLES is copied to the break
    tunables_move_break: int
    # malloc/malloc.c do_set_mmap_threshold(), glibc 2.34: at most half a heap; 2.35: any
    threshold_is_capped: int
    # malloc/malloc.c sysmalloc_mmap_fallback(), glibc 2.35 to 2.37: called with the page size and
    # the least size in each other's place
    fallback_is_transposed: int
    # malloc/malloc.c __libc_realloc(), glibc 2.37: what grows within its usable size stays
    realloc_keeps_usable: int
    # malloc/malloc.c _mid_memalign(), glibc 2.38: an aligned chunk of the tcache is taken
    memalign_uses_tcache: int
    # malloc/malloc.c _int_memalign(), glibc 2.38: what is cut off merges, and goes to no tcache
    memalign_merges: int
    # malloc/malloc.c __libc_calloc(), glibc 2.41
    calloc_uses_tcache: int
    # malloc/malloc.c _int_free_create_chunk(), glibc 2.41: small chunks go to their bin at once
    small_chunks_skip_unsorted: int
    # malloc/hooks.c __malloc_check_init(), glibc 2.31 to 2.33; since then in another library
    has_check_hooks: int
    # malloc/malloc.c do_set_hugetlb(), glibc 2.35
    knows_hugetlb: int
    # malloc/arena.c ptmalloc_init(), glibc 2.39: huge pages of the pool set the mmap threshold
    hugetlb_sets_threshold: int
    # malloc/malloc.c aligned_alloc(), glibc 2.38: EINVAL for what is no power of two
    aligned_alloc_checks: int


def rules_of(version: str) -> Rules:
    """The rules of "2.31" to "2.41"; raises UserError for any other.

    >>> rules_of("2.36").heap_info_bytes, rules_of("2.41").calloc_uses_tcache
    (48, 1)
    """
    number = _minor(version)
    return Rules(
        version=version,
        heap_info_bytes=48 if number >= 35 else 32,
        tunables_move_break=int(number <= 34),
        threshold_is_capped=int(number <= 34),
        fallback_is_transposed=int(35 <= number <= 37),
        realloc_keeps_usable=int(number >= 37),
        memalign_uses_tcache=int(number >= 38),
        memalign_merges=int(number >= 38),
        calloc_uses_tcache=int(number >= 41),
        small_chunks_skip_unsorted=int(number >= 41),
        has_check_hooks=int(number <= 33),
        knows_hugetlb=int(number >= 35),
        hugetlb_sets_threshold=int(number >= 39),
        aligned_alloc_checks=int(number >= 38),
    )


def versions() -> list[str]:
    """All versions with rules, oldest first."""
    return [f"2.{minor}" for minor in range(31, 42)]


def _minor(version: str) -> int:
    if version not in versions():
        raise UserError(f"glibc: found {version!r}, allowed are 2.31 to {NEWEST}")
    return int(version.split(".")[1])
