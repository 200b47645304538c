"""What would have avoided a kill that more RAM in general would not: asked of the twin's zones."""

from __future__ import annotations

import random

import msgspec
import pytest
from tests.sweep.bound_texts import low_zone, one_node, pieces

from memtwin.analysis.oom_cause import cause_of
from memtwin.cli.oom_bound_words import bound_sentences
from memtwin.cli.oom_what_if_text import what_if_text
from memtwin.observe.oom.records import OomReport
from memtwin.observe.oom.report import read_oom_log
from memtwin.sweep.oom_bound import Bound, Kind, _Ask, _Twin, bound_of, kind_of
from memtwin.sweep.oom_what_if import what_if

PAGE = 4096


def _report(text: str) -> OomReport:
    (report,) = read_oom_log(text).reports
    assert not report.unread_lines
    return report


def _bound(text: str) -> Bound:
    found = bound_of(_report(text))
    assert isinstance(found, Bound)
    assert found.refused
    return found


def test_a_request_for_a_large_block_lacks_one_block_and_smaller_ones_are_served() -> None:
    found = _bound(pieces())
    assert found.kind is Kind.PIECES
    assert found.zone == "DMA32"
    assert found.more_bytes == PAGE << 3
    assert found.lower_orders == [0, 1, 2]
    assert found.compaction_short_bytes == 0


def test_compaction_that_lacks_free_pages_is_said_to_lack_them() -> None:
    # min 8000K and twice the block of order 3 (64K) against 8028K free
    text = pieces().replace("9000*4kB", "1347*4kB").replace("1200*8kB", "330*8kB")
    text = text.replace("DMA32 free:46080kB", "DMA32 free:8508kB").replace("30*16kB", "0*16kB")
    text = text.replace("min:8000kB", "min:8476kB")
    found = _bound(text)
    assert found.compaction_short_bytes == (8476 + 64 - 8508) << 10


def test_a_low_zone_lacks_exactly_the_pages_up_to_its_min_mark() -> None:
    found = _bound(low_zone())
    assert found.kind is Kind.LOW_ZONE
    # one page above min: mm/page_alloc.c __zone_watermark_ok() wants more than the mark
    free_kib = 500 * 4 + 300 * 8 + 100 * 16 + 10 * 32
    assert found.more_bytes == (8_000 - free_kib + 4) << 10
    assert found.elsewhere_serves is False
    assert found.any_zone_serves is True
    assert found.highest_min_share == pytest.approx(free_kib / 8_000, abs=0.011)


def test_a_request_held_to_a_node_is_served_by_its_own_memory_or_without_the_limit() -> None:
    found = _bound(one_node())
    assert found.kind is Kind.NODES
    assert found.zone == "Normal of node 0"
    free_kib = 2000 * 4 + 900 * 8 + 400 * 16 + 20 * 32
    assert found.more_bytes == (24_000 - free_kib + 4) << 10
    assert found.any_node_serves is True
    assert found.elsewhere_serves is False


def test_a_full_node_beside_it_is_said_to_be_full() -> None:
    assert _bound(one_node(beside=(10,))).any_node_serves is False


@pytest.mark.parametrize("text", [pieces(), low_zone(), one_node()])
def test_the_least_that_is_said_to_help_helps_and_a_block_less_does_not(text: str) -> None:
    report, found = _report(text), _bound(text)
    cause = cause_of(report)
    twin = _Twin(report, cause, found.kind)
    assert found.more_bytes is not None
    place = (found.zone.split(" ")[0], 0)
    least = found.more_bytes // PAGE
    ask = _Ask(gfp=twin.gfp, order=twin.order, nodes=twin.nodes, more=(*place, least))
    assert twin.serves(ask)
    less = msgspec.structs.replace(ask, more=(*place, least - (1 << twin.order)))
    assert not twin.serves(less)


def test_a_text_without_free_lists_is_not_answered() -> None:
    lines = [line for line in low_zone().splitlines() if "*4kB" not in line]
    found = bound_of(_report("\n".join(lines)))
    assert found == "the zones' free blocks are not in the text"


def test_the_answer_is_told_in_sentences_instead_of_a_refusal() -> None:
    text = what_if_text(what_if(_report(low_zone())))
    assert "cannot rebuild" not in text
    assert "Zone DMA32 is what lies below 4G" in text
    assert "fails as before" in text
    report = _report(low_zone())
    assert kind_of(report, cause_of(report)) is Kind.LOW_ZONE


def test_a_report_with_any_figures_is_answered_or_refused_in_words() -> None:
    rng = random.Random(11)
    answered = refused = 0
    for _ in range(60):
        report = _report(rng.choice((pieces, low_zone, one_node))())
        assert report.mem_info is not None
        assert report.invocation is not None
        assert report.verdict is not None
        for zone in report.mem_info.zones:
            if rng.random() < 0.5:
                zone.blocks = tuple(rng.choice((0, 0, 1, 5, 200, 3000)) for _ in range(11))
                zone.kib["free"] = sum(4 * count << k for k, count in enumerate(zone.blocks))
                zone.block_types = tuple(rng.choice(("", "U", "UM", "C", "H")) for _ in range(11))
            zone.kib["free_cma"] = rng.choice((0, 0, rng.randrange(50_000)))
            zone.node = rng.choice((zone.node, zone.node, rng.randrange(3)))
            zone.lowmem_reserve_pages = rng.choice((zone.lowmem_reserve_pages, (), (5,)))
        report.invocation.order = rng.choice((0, 1, 3, 9, -1))
        report.verdict.mems_allowed = rng.choice(("0", "1", "0-1", "7", ""))
        found = bound_of(report)
        if isinstance(found, str):
            assert found
            refused += 1
        else:
            assert bound_sentences(found) or not found.refused
            answered += 1
    assert min(answered, refused) > 5
