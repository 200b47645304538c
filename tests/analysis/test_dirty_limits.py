"""Limits of dirty memory as recorded kernels had them, and at their edges."""

from __future__ import annotations

import pytest
from tests.observe.recordings import every_tree

from memtwin.analysis.dirty_limits import dirty_limits
from memtwin.observe.reading import Reading
from memtwin.observe.source import TextSource
from memtwin.observe.vm_sysctl import DirtySysctl, read_dirty_settings
from memtwin.observe.vmstat import parse_vmstat
from memtwin.observe.zoneinfo import ZoneInfo, parse_zoneinfo

PAGE = 4096
FREE = {"nr_free_pages": 9_999}  # and one more may be dirty


@pytest.mark.parametrize(("background", "expected"), [(99, 99), (100, 50), (101, 50)])
def test_a_background_limit_that_reaches_the_limit_becomes_half_of_it(
    background: int, expected: int
) -> None:
    # mm/page-writeback.c domain_dirty_limits(), v6.12: if (bg_thresh >= thresh)
    settings = DirtySysctl(bytes=100 * PAGE, background_bytes=background * PAGE)
    limits = dirty_limits(FREE, ZoneInfo([]), settings)
    assert (limits.limit_pages, limits.background_pages) == (100, expected)


def test_a_ratio_is_rounded_to_parts_of_a_page_first_as_the_kernel_does() -> None:
    # the same: ratio = (ratio * PAGE_SIZE) / 100, then thresh = (ratio * available) / PAGE_SIZE
    limits = dirty_limits(FREE, ZoneInfo([]), DirtySysctl(ratio_percent=33))
    assert limits.dirtyable_pages == 10_000
    assert limits.limit_pages == 33 * PAGE // 100 * 10_000 // PAGE == 3_298


@pytest.mark.parametrize("name", list(every_tree()))
def test_limits_are_those_that_each_recorded_kernel_worked_out_itself(name: str) -> None:
    texts = every_tree()[name]
    vm = parse_vmstat(texts["/proc/vmstat"]).figures
    settings = read_dirty_settings(Reading(TextSource(texts)))
    limits = dirty_limits(vm, parse_zoneinfo(texts["/proc/zoneinfo"]), settings)
    kernels = (vm["nr_dirty_threshold"], vm["nr_dirty_background_threshold"])
    assert (limits.limit_pages, limits.background_pages) == kernels
