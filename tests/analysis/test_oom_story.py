"""What is said of a kill: whom the rules name, why the request failed, where memory was."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from memtwin.analysis.oom_cause import cause_of
from memtwin.analysis.oom_choice import Judgement, judge
from memtwin.analysis.oom_ledger import REST, ledger_of
from memtwin.analysis.oom_story import explain, explain_all
from memtwin.observe.oom.records import (
    Choice,
    HugePool,
    Invocation,
    Kill,
    MemInfoText,
    OomReport,
    SlabRow,
    TaskRow,
    Verdict,
    ZoneText,
)
from memtwin.observe.oom.report import read_oom_log

LAB = Path(__file__).parent.parent / "data" / "oom"


def _lab(name: str) -> list[OomReport]:
    return read_oom_log((LAB / f"{name}.txt").read_text()).reports


def _report(**changes: object) -> OomReport:
    """A whole small report that the tests bend."""
    zone = ZoneText(
        name="Normal", node=0, kib={"free": 400, "min": 500, "managed": 400_000, "page": 4},
        lowmem_reserve_pages=(0, 0, 0, 0, 0), blocks=(60, 20, 0, 0),
        block_types=("UM", "M", "", ""),
    )  # fmt: skip
    info = MemInfoText(
        pages={"active_anon": 60_000, "inactive_anon": 0, "isolated_anon": 0, "active_file": 0,
               "inactive_file": 0, "isolated_file": 0, "unevictable": 0, "slab_reclaimable": 100,
               "slab_unreclaimable": 2000, "pagetables": 200, "free": 100, "shmem": 50},
        zones=[zone], swap_total_kib=0, swap_free_kib=0, ram_pages=100_000, reserved_pages=0,
    )  # fmt: skip
    report = OomReport(
        first_line=1, release="6.1.0",
        invocation=Invocation(comm="a", pid=3, order=0, gfp_text="GFP_HIGHUSER_MOVABLE"),
        mem_info=info, columns=("rss",), verdict=Verdict(constraint="CONSTRAINT_NONE"),
        tasks=[TaskRow(pid=2, name="small", rss_pages=900, oom_score_adj=0),
               TaskRow(pid=3, name="big", rss_pages=40_000, oom_score_adj=0)],
        kills=[Kill(pid=3, name="big", anon_rss_kib=160_000)],
    )  # fmt: skip
    for name, value in changes.items():
        setattr(report, name, value)
    return report


@pytest.mark.parametrize("path", sorted(LAB.glob("*.txt")), ids=lambda path: path.stem)
def test_by_the_rules_real_kernels_took_whom_they_should(path: Path) -> None:
    for told in explain_all(_lab(path.stem)):
        expected = None if path.stem == "6.1-no-table" else True
        assert told.judgement.agrees is expected
        assert told.report.kills[0].name in told.headline


def test_a_kill_against_the_rules_is_said_to_be_one() -> None:
    report = _report(kills=[Kill(pid=2, name="small")])
    found = judge(report)
    assert found.agrees is False
    assert (found.expected_pid, found.victim_pid) == (3, 2)
    assert any("39,100 points behind big" in reason for reason in found.reasons)
    assert any("should have died" in line for line in explain(report).story)


def test_a_near_miss_is_drift_and_not_a_fault() -> None:
    report = _report()
    report.tasks[0].rss_pages = 40_030
    found = judge(report)
    assert found.agrees
    assert "drift" in found.reasons[0]


def test_the_asker_dies_where_the_sysctl_says_so() -> None:
    told = explain_all(_lab("6.12-allocating-task"))[0]
    assert told.report.allocating_task
    assert told.judgement.agrees
    assert any(line.startswith("vm.oom_kill_allocating_task") for line in told.story)


def test_who_was_killed_before_is_exempt_unless_its_number_was_taken_again() -> None:
    first, again = _report(), _report(kills=[Kill(pid=2, name="small")])
    told = explain_all([first, again])
    assert told[1].judgement.agrees
    reused = _report()
    assert explain_all([first, reused])[1].judgement.agrees


def test_the_scale_is_of_the_scope() -> None:
    assert judge(_report()).total_pages == 100_000
    report = _report()
    assert report.mem_info is not None
    report.mem_info.swap_total_kib = 4000
    assert judge(report).total_pages == 101_000
    (group,) = _lab("6.12-group")
    assert judge(group).total_pages == (24 + 8) << 8


def test_a_request_held_to_nodes_counts_their_memory_alone() -> None:
    report = _report()
    assert report.mem_info is not None
    report.mem_info.zones[0].kib["present"] = 400_000
    other = ZoneText(name="Normal", node=1, kib={"free": 9_000_000, "min": 5, "present": 8_000_000})
    report.mem_info.zones.append(other)
    report.verdict = Verdict(constraint="CONSTRAINT_CPUSET", mems_allowed="0", pid=3)
    judged = judge(report)
    assert (judged.constraint, judged.total_pages) == ("CONSTRAINT_CPUSET", 100_000)
    zones = cause_of(report).zones
    assert [zone.reachable for zone in zones] == [True, False]
    assert "memory nodes of a cpuset" in explain(report).headline
    report.verdict = None
    assert report.invocation is not None
    report.invocation.nodemask = "0"
    assert judge(report).constraint == "CONSTRAINT_MEMORY_POLICY"


@pytest.mark.parametrize(("score", "reasons"), [(400, 0), (401, 0), (460, 1)])
def test_the_score_that_older_kernels_print_is_held_against_the_table(
    score: int, reasons: int
) -> None:
    report = _report(verdict=None, release="4.9.0")
    report.choice = Choice(pid=3, name="big", score=score, scope="Out of memory")
    judged = judge(report)
    assert (judged.score_said, judged.score_recomputed) == (score, 400)
    assert len(judged.reasons) == reasons
    assert judged.agrees


def test_what_the_oldest_rules_weighed_is_not_in_a_report() -> None:
    report = _report(release="2.6.18", verdict=None, columns=("rss", "cpu", "oom_adj"))
    judged = judge(report)
    assert judged.agrees is None
    assert "run time" in judged.reasons[0]


def test_shares_of_an_unknown_whole_are_not_judged() -> None:
    report = _report(release="3.2.0", verdict=None, mem_info=None)
    judged = judge(report)
    assert (judged.agrees, judged.total_pages) == (None, None)
    assert "not known" in judged.reasons[0]


def test_a_number_killed_before_a_reboot_counts_again_after_it() -> None:
    first = _report(time_s=900.0)
    after = _report(time_s=5.0, kills=[Kill(pid=2, name="small")])
    assert explain_all([first, after])[1].judgement.agrees is False


def test_each_zone_says_why_it_could_not_serve() -> None:
    cause = cause_of(_report())
    assert [zone.serves for zone in cause.zones] == [False]
    assert "below its min mark" in cause.zones[0].why
    (pae,) = _lab("6.1-686-global")
    assert {zone.name for zone in cause_of(pae).zones} == {"DMA", "Normal"}
    (small,) = _lab("5.10-global")
    assert "lowmem_reserve" in cause_of(small).zones[0].why


def test_free_memory_in_pieces_is_fragmentation_and_not_a_lack() -> None:
    report = _report()
    assert report.mem_info is not None
    assert report.invocation is not None
    report.invocation.order, report.invocation.gfp_text = 3, "GFP_KERNEL|__GFP_COMP"
    report.mem_info.zones[0].kib["free"] = 90_000
    cause = cause_of(report)
    assert cause.fragmented
    assert cause.request.size_bytes == 32768
    report.mem_info.zones[0].blocks = (60, 20, 5, 3)
    report.mem_info.zones[0].block_types = ("UM", "M", "M", "U")
    assert not cause_of(report).fragmented
    report.mem_info.zones[0].block_types = ("UM", "M", "M", "C")
    assert cause_of(report).fragmented


def test_cma_is_not_for_a_request_that_cannot_be_moved() -> None:
    report = _report()
    assert report.mem_info is not None
    assert report.invocation is not None
    report.mem_info.zones[0].kib |= {"free": 90_000, "free_cma": 89_900}
    assert cause_of(report).zones[0].serves
    report.invocation.gfp_text = "GFP_KERNEL"
    assert cause_of(report).zones[0].serves is False


@pytest.mark.parametrize(
    ("total", "free", "word"), [(0, 0, "no swap"), (9000, 0, "full"), (9000, 8000, "8")]
)
def test_swap_is_absent_full_or_free(total: int, free: int, word: str) -> None:
    report = _report()
    assert report.mem_info is not None
    report.mem_info.swap_total_kib, report.mem_info.swap_free_kib = total, free
    said = " ".join(cause_of(report).sentences)
    assert word in said.partition("wap")[0] + said


def test_the_ledger_of_a_report_adds_up_to_all_ram() -> None:
    for path in sorted(LAB.glob("*.txt")):
        for report in _lab(path.stem):
            ledger = ledger_of(report)
            assert ledger is not None
            rows = [row for row in ledger.rows if not row.inside]
            assert sum(row.size_bytes for row in rows) == ledger.total_bytes
            assert rows[-1].name == REST
            assert len({row.name for row in ledger.rows}) == len(ledger.rows)


def test_what_stands_out_is_named_with_its_figures() -> None:
    report = _report()
    assert report.mem_info is not None
    report.slabs = [SlabRow(name="kmalloc-4k", used_kib=1, total_kib=150_000)]
    report.mem_info.pages |= {"slab_unreclaimable": 40_000, "pagetables": 15_000, "shmem": 30_000}
    report.mem_info.huge_pools = [HugePool(size_kib=2048, total_pages=60, free_pages=60)]
    found = {one.kind: one for one in explain(report).suspects}
    assert set(found) == {"slab", "tables", "shmem", "huge"}
    assert "kmalloc-4k" in found["slab"].sentence
    assert found["tables"].share == pytest.approx(0.15)
    report = _report(tasks=[TaskRow(pid=n, name="fork", rss_pages=2000) for n in range(2, 30)])
    assert [one.kind for one in explain(report).suspects] == ["processes", "unnamed"]


def test_an_explanation_is_data_with_units() -> None:
    told = explain_all(_lab("6.12-swap"))[0]
    document = msgspec.json.decode(msgspec.json.encode(told))
    assert document["report"]["kills"][0]["anon_rss_kib"] > 0
    assert document["cause"]["swap"] == "full"
    assert document["ledger"]["rows"][0]["size_bytes"] > 0


def _of_a_group(score: int, memsw_kib: int, swapped: int = 5000) -> Judgement:
    """What is judged of a kill of 4.8 in a group of 20 MiB, of a process of uid 0."""
    lines = [
        "a invoked oom-killer: gfp_mask=0x24000c0(GFP_KERNEL), order=0, oom_score_adj=0",
        "CPU: 5 PID: 100 Comm: a Not tainted 4.8.0 #1",
        "memory: usage 20480kB, limit 20480kB, failcnt 1",
        f"memory+swap: usage 40960kB, limit {memsw_kib}kB, failcnt 6",
        "Memory cgroup stats for /box: cache:0KB rss:20480KB",
        "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name",
        f"[  100]     0   100    20000     5000      30       4 {swapped:8}             0 a",
        f"Memory cgroup out of memory: Kill process 100 (a) score {score} or sacrifice child",
        "Killed process 100 (a) total-vm:80000kB, anon-rss:20000kB, file-rss:0kB, shmem-rss:0kB",
    ]
    (report,) = read_oom_log("\n".join(f"[    1.000000] {line}" for line in lines)).reports
    assert not report.unread_lines
    return judge(report)


def test_root_in_a_container_is_known_by_its_score() -> None:
    # (5000 + 5000 + 34) * 1000 / 10240 = 979, and with 3 % less 950
    spared = _of_a_group(950, 40960)
    assert (spared.score_said, spared.score_recomputed) == (950, 950)
    assert not any("container" in reason for reason in spared.reasons)
    plain = _of_a_group(979, 40960)
    assert (plain.score_said, plain.score_recomputed) == (979, 979)
    assert any("CAP_SYS_ADMIN, as in a container" in reason for reason in plain.reasons)
    other = _of_a_group(400, 40960)
    assert any("a score of 400, the table gives 950" in reason for reason in other.reasons)


def test_a_group_that_swapped_beyond_its_limit_has_no_scale_that_the_text_tells() -> None:
    # printed by 3.13 for "no limit", of memory with swap
    found = _of_a_group(996, 18014398509481983)
    assert found.total_pages is None
    assert found.score_recomputed is None
    assert any("cannot be recomputed: how much swap" in reason for reason in found.reasons)
    assert _of_a_group(479, 18014398509481983, swapped=0).total_pages == 5120
