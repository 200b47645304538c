"""OOM reports of every era are read whole, by whatever carrier they come; any text is survived."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.observe.oom import eras as oom_eras

from memtwin.analysis.oom_story import explain_all
from memtwin.cli.oom_text import explanation_text
from memtwin.observe.log_lines import Origin, log_lines
from memtwin.observe.oom.gfp_names import flags_of, name_of
from memtwin.observe.oom.missing import era_of
from memtwin.observe.oom.records import OomReport
from memtwin.observe.oom.report import read_oom_log

LAB = sorted((Path(__file__).parents[2] / "data" / "oom").glob("*.txt"))
FIELDS = {  # of a row as made up -> of a row as read
    "pid": "pid", "uid": "uid", "tgid": "tgid", "total_vm": "total_vm_pages", "rss": "rss_pages",
    "rss_anon": "rss_anon_pages", "rss_file": "rss_file_pages", "rss_shmem": "rss_shmem_pages",
    "nr_ptes": "nr_ptes", "nr_pmds": "nr_pmds", "pgtables_bytes": "pgtables_bytes",
    "swapents": "swapents_pages", "oom_score_adj": "oom_score_adj", "oom_adj": "oom_adj",
}  # fmt: skip


def _only(text: str) -> OomReport:
    reports = read_oom_log(text).reports
    assert len(reports) == 1
    return reports[0]


def _compare(report: OomReport, era: oom_eras.Era, state: oom_eras.State) -> None:
    """Every figure that the era prints stands in the record."""
    asker, info = report.invocation, report.mem_info
    assert asker is not None
    assert info is not None
    assert (asker.comm, asker.pid, asker.order) == (state.comm, state.asker_pid, state.order)
    assert report.release == era.release
    assert report.columns == era.columns
    for task, row in zip(state.tasks, report.tasks, strict=True):
        assert row.name == task["name"]
        for column, name in FIELDS.items():
            expected = task[column] if column in (*era.columns, "pid") else None
            assert getattr(row, name) == expected, column
    for name, pages in state.pages.items():
        assert info.pages[name] == pages, name
    for zone, read in zip(state.zones, info.zones, strict=True):
        assert read.name == zone["name"]
        assert {k: read.kib[k] for k in zone if k != "name"} == {
            k: zone[k] for k in zone if k != "name"
        }
        assert read.blocks == (3, 0, 2, 1, 0)
        assert read.block_types[0] == "UM"
        assert read.lowmem_reserve_pages is not None
    assert (info.swap_total_kib, info.swap_free_kib) == (state.swap_total_kib, state.swap_free_kib)
    assert (info.ram_pages, info.reserved_pages) == (state.ram_pages, state.reserved_pages)
    victim = state.tasks[state.victim]
    assert [(kill.pid, kill.name) for kill in report.kills] == [(victim["pid"], victim["name"])]
    assert report.kills[0].anon_rss_kib == int(victim["rss_anon"]) * 4
    assert report.trace == ["dump_stack", "__alloc_pages", "handle_mm_fault"]
    if era.verdict:
        assert report.verdict is not None
        assert report.verdict.task_memcg == "/a,b/c"
        assert report.verdict.pid == victim["pid"]


@pytest.mark.parametrize("era", oom_eras.ERAS.values(), ids=lambda era: era.name)
@pytest.mark.parametrize("carrier", oom_eras.CARRIERS)
def test_a_report_of_every_era_is_read_whole_from_every_carrier(
    era: oom_eras.Era, carrier: str
) -> None:
    state = oom_eras.made_up(len(carrier))
    lines = oom_eras.CARRIERS[carrier](oom_eras.report(era, state))
    report = _only("\n".join(lines))
    _compare(report, era, state)
    assert report.unread_lines == 0
    assert set(report.missing) <= {"constraint"}
    assert ("constraint" in report.missing) == (not era.verdict)


@pytest.mark.parametrize("form", ["lines", "pretty", "export"])
def test_the_journal_gives_the_same_as_json_and_as_export(form: str) -> None:
    era, state = oom_eras.ERAS["6.1"], oom_eras.made_up(1)
    messages = oom_eras.report(era, state)
    joined = "\n".join(messages[9:11])  # one entry of two lines, as the kernel prints them
    messages[9:11] = [joined]
    entries = [
        {"__REALTIME_TIMESTAMP": "1682935200000000", "_TRANSPORT": "kernel", "MESSAGE": message}
        for message in messages
    ]
    entries.insert(5, {"SYSLOG_IDENTIFIER": "systemd", "MESSAGE": "Started something."})
    entries.insert(7, {"_TRANSPORT": "kernel", "MESSAGE": None})  # too large for the journal
    if form == "export":
        text = "\n\n".join(
            "\n".join(f"{k}={v}" for k, v in entry.items() if v and "\n" not in v)
            for entry in entries
        )
        assert _only(text).kills
        return
    indent = 2 if form == "pretty" else None
    report = _only("\n".join(json.dumps(entry, indent=indent) for entry in entries))
    _compare(report, era, state)


@pytest.mark.parametrize("path", LAB, ids=lambda path: path.stem)
def test_what_real_kernels_printed_is_read_to_the_last_line(path: Path) -> None:
    log = read_oom_log(path.read_text())
    assert log.reports
    for report in log.reports:
        assert report.unread_lines == 0
        assert set(report.missing) <= ({"tasks"} if path.stem == "6.1-no-table" else set())
        assert report.kills
        assert report.invocation is not None
        assert report.invocation.pid is not None
        assert report.trace[-1] == "asm_exc_page_fault" or "686" in path.stem


def test_a_text_cut_anywhere_gives_what_is_left_and_says_what_is_not() -> None:
    era, state = oom_eras.ERAS["5.4"], oom_eras.made_up(2)
    lines = oom_eras.CARRIERS["dmesg"](oom_eras.report(era, state))
    for at in range(1, len(lines) - 2):
        tail = read_oom_log("\n".join(lines[at:])).reports
        assert len(tail) == 1
        assert tail[0].missing["asker"]
        assert tail[0].kills[0].pid == state.tasks[state.victim]["pid"]
        head = read_oom_log("\n".join(lines[:at])).reports
        assert len(head) == 1
        assert "kill" in head[0].missing


def test_rows_without_their_head_are_told_by_their_number_of_figures() -> None:
    for name in ("3.10", "4.4", "6.1", "6.12"):
        era, state = oom_eras.ERAS[name], oom_eras.made_up(3)
        rows = [
            oom_eras.row_text(era, task) for task in state.tasks if str(task["name"])[0].isalpha()
        ]
        read = _only("\n".join(rows)).tasks
        wanted = [task for task in state.tasks if str(task["name"])[0].isalpha()]
        for task, row in zip(wanted, read, strict=True):
            assert (row.rss_pages, row.swapents_pages) == (task["rss"], task["swapents"])
            if "pgtables_bytes" in era.columns:
                assert row.pgtables_bytes == task["pgtables_bytes"]
            else:
                assert row.nr_ptes == task["nr_ptes"]


def test_a_console_that_tears_and_glues_lines_is_put_right() -> None:
    era, state = oom_eras.ERAS["4.9"], oom_eras.made_up(4)
    torn: list[str] = []
    for line in oom_eras.report(era, state):
        if line.startswith("Node 0 DMA free"):
            torn += ["Node 0 ", line.removeprefix("Node 0 ")]
        elif line.startswith("lowmem_reserve"):
            torn += ["lowmem_reserve[]:", line.removeprefix("lowmem_reserve[]: ")]
        elif line.startswith("Node 0 DMA32: "):
            torn += [
                "Node 0 DMA32: 3*4kB ",
                "(UM) ",
                "0*8kB ",
                "2*16kB (E) 1*32kB (M) ",
                "0*64kB = 76kB",
            ]
        else:
            torn.append(line)
    stamped = oom_eras.CARRIERS["dmesg"](torn)
    glued = "\n".join(stamped).replace(" pages RAM\n[", " pages RAM[")
    _compare(_only(glued), era, state)


def test_foreign_lines_between_do_no_harm_and_are_counted() -> None:
    era, state = oom_eras.ERAS["6.12"], oom_eras.made_up(5)
    lines = oom_eras.report(era, state)
    for at in range(len(lines) - 4, 1, -5):
        lines.insert(at, "usb 1-1: new high-speed USB device number 4 using xhci_hcd")
    report = _only("\n".join(oom_eras.CARRIERS["syslog"](lines)))
    _compare(report, era, state)
    assert report.unread_lines > 3


def test_several_reports_in_one_text_stay_apart() -> None:
    text: list[str] = []
    for seed, name in enumerate(oom_eras.ERAS):
        text += oom_eras.report(oom_eras.ERAS[name], oom_eras.made_up(seed))
        text.append("eth0: link becomes ready")
    reports = read_oom_log("\n".join(oom_eras.CARRIERS["dmesg"](text))).reports
    assert len(reports) == len(oom_eras.ERAS)
    for seed, (name, report) in enumerate(zip(oom_eras.ERAS, reports, strict=True)):
        _compare(report, oom_eras.ERAS[name], oom_eras.made_up(seed))


def test_a_kill_whose_report_was_rate_limited_stands_alone_and_says_so() -> None:
    era = oom_eras.ERAS["6.1"]
    lines = oom_eras.report(era, oom_eras.made_up(1))
    lines += [
        "oom_kill_process: 3 callbacks suppressed",
        "Out of memory: Killed process 99 (b) total-vm:8kB, anon-rss:4kB, file-rss:0kB",
        "Memory cgroup out of memory: Killed process 100 (c) total-vm:8kB, anon-rss:4kB",
    ]
    log = read_oom_log("\n".join(lines))
    assert [report.kills[0].pid for report in log.reports[1:]] == [99, 100]
    assert all("rate-limited" in report.missing["asker"] for report in log.reports[1:])
    assert [one.partition(": ")[2] for one in log.lost] == [
        "oom_kill_process: 3 callbacks suppressed"
    ]


def test_a_dump_of_an_allocation_that_failed_is_no_oom_report() -> None:
    era, state = oom_eras.ERAS["6.1"], oom_eras.made_up(1)
    lines = oom_eras.report(era, state)
    memory = lines[lines.index("Mem-Info:") : lines.index("Tasks state (memory values in pages):")]
    failure = "swapper/0: page allocation failure: order:4, mode:0x40dc0(GFP_KERNEL|__GFP_COMP)"
    log = read_oom_log("\n".join([failure, *memory, "sysrq: Show Memory", *memory]))
    assert (log.reports, log.failures) == ([], 2)
    log = read_oom_log("\n".join([failure, *memory, *lines]))
    assert len(log.reports) == 1
    _compare(log.reports[0], era, state)


MEMCG_V1 = """\
java invoked oom-killer: gfp_mask=0xd0, order=0, oom_score_adj=-17
CPU: 1 PID: 77 Comm: java Not tainted 3.10.0-693.el7.x86_64 #1
Task in /docker/aa bb killed as a result of limit of /docker
memory: usage 1048576kB, limit 1048576kB, failcnt 301
memory+swap: usage 1048576kB, limit 9007199254740991kB, failcnt 0
kmem: usage 0kB, limit 9007199254740988kB, failcnt 0
Memory cgroup stats for /docker: cache:0KB rss:0KB rss_huge:0KB mapped_file:0KB swap:0KB
Memory cgroup stats for /docker/aa bb: cache:100KB rss:1048476KB rss_huge:0KB swap:8KB
[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name
[   77]     0    77   500000   262119     600        2             0 java
Memory cgroup out of memory: Kill process 77 (java) score 997 or sacrifice child
Killed process 80 (child), UID 5, total-vm:9kB, anon-rss:8kB, file-rss:0kB, shmem-rss:0kB
"""


def test_a_group_of_the_first_version_has_its_counters_and_its_sacrificed_child() -> None:
    report = _only(MEMCG_V1)
    group = report.memcg
    assert group is not None
    assert (group.task_path, group.limit_path) == ("/docker/aa bb", "/docker")
    assert group.memory is not None
    assert (group.memory.usage_kib, group.memory.failcnt) == (1048576, 301)
    assert group.memsw is not None
    assert group.memsw.limit_kib is None
    assert group.groups[1].stat["rss"] == 1048476 << 10
    assert (report.choice.pid, report.kills[0].pid) == (77, 80)  # type: ignore[union-attr]
    assert report.kills[0].uid == 5
    (told,) = explain_all([report])
    assert told.judgement.constraint == "CONSTRAINT_MEMCG"
    assert told.judgement.agrees
    assert any("its child child instead" in line for line in told.story)


def test_other_killers_are_told_apart_from_the_kernels_own() -> None:
    text = "\n".join([
        "May  1 10:00:00 h systemd-oomd[500]: Killed /user.slice/a.scope due to memory pressure for"
        " /user.slice being 62.34% > 50.00% for > 20s with reclaim activity",
        "05-01 10:00:00.123   480   480 I lowmemorykiller: Kill 'com.example.app' (4321), uid 10123"
        ", oom_score_adj 900 to free 123456kB rss, 100kB swap; reason: low watermark is breached",
        "<4>[  50.000001] lowmemorykiller: Killing 'old.app' (99), adj 900,",
        "<6>[  51.000001] send sigkill to 1234 (older.app), adj 15, size 9000",
        "May  1 10:00:00 h earlyoom[70]: sending SIGTERM to process 81 uid 1000 \"firefox\":"
        " badness 900, VmRSS 900 MiB",
        "May  1 10:00:01 h app[9]: Out of memory: Killed process 5 (liar) total-vm:1kB, anon",
    ])  # fmt: skip
    log = read_oom_log(text)
    assert log.reports == []
    found = [(one.killer, one.name, one.pid) for one in log.others]
    assert found == [
        ("systemd-oomd", "/user.slice/a.scope", None),
        ("lmkd", "com.example.app", 4321),
        ("lowmemorykiller (kernel driver)", "old.app", 99),
        ("lowmemorykiller (kernel driver)", "older.app", 1234),
        ("earlyoom", "firefox", 81),
    ]


def test_the_era_is_told_by_the_layout_where_the_kernel_is_not_named() -> None:
    for name, first in (("3.10", (3, 7)), ("4.4", (4, 1)), ("4.19", (4, 15)), ("6.12", (6, 8))):
        era = oom_eras.ERAS[name]
        lines = [
            line for line in oom_eras.report(era, oom_eras.made_up(1)) if "Not tainted" not in line
        ]
        found = era_of(_only("\n".join(lines)))
        assert found.first == first
        assert not found.exact


def test_slab_table_profile_and_protection_are_read() -> None:
    era, state = oom_eras.ERAS["6.12"], oom_eras.made_up(1)
    lines = oom_eras.report(era, state)
    at = lines.index("Tasks state (memory values in pages):")
    lines[at:at] = [
        "Memory allocations:", "     1.19 GiB    19532 mm/slub.c:2245 func:alloc_slab_page",
        "Unreclaimable slab info:", "Name                      Used          Total",
        "kmalloc-4k            812345KB     900000KB",
        "task_struct               10KB         40KB",
        "Memory cgroup min protection 12kB -- low protection 34kB",
    ]  # fmt: skip
    report = _only("\n".join(lines))
    assert (report.slabs[0].name, report.slabs[0].total_kib) == ("kmalloc-4k", 900000)
    assert (report.sites[0].calls, report.sites[0].size_bytes >> 20) == (19532, 1218)
    assert report.protected_kib == (12, 34)
    _compare(report, era, state)


@pytest.mark.parametrize(
    ("mask", "version", "name"),
    [
        (0x201DA, (3, 10), "GFP_HIGHUSER_MOVABLE|__GFP_COLD"),
        (0xD0, (3, 10), "GFP_KERNEL"),
        (0x24200CA, (4, 4), "GFP_HIGHUSER_MOVABLE"),
        (0x26000C0, None, "GFP_KERNEL|__GFP_NOTRACK"),
        (0x140CCA, (6, 1), "GFP_HIGHUSER_MOVABLE|__GFP_COMP"),
    ],
)
def test_a_bare_mask_is_read_by_the_table_of_its_time(
    mask: int, version: tuple[int, int] | None, name: str
) -> None:
    assert name_of(flags_of(mask, "", version)) == name


def _check_survives(text: str) -> None:
    """Reading and explaining `text` ends; whatever is found is consistent."""
    log = read_oom_log(text)
    told = explain_all(log.reports)
    assert len(told) == len(log.reports)
    assert msgspec.json.decode(msgspec.json.encode([told, log.others, log.lost]))
    for number, one in enumerate(told, 1):
        assert one.headline in explanation_text(one, number, len(told), 5).replace("\n", " ")
        assert one.report.first_line <= max(one.report.last_line, one.report.first_line)


def test_hundreds_of_broken_reports_are_survived() -> None:
    rng = random.Random(11)
    sources = [path.read_text().split("\n") for path in LAB]
    sources += [oom_eras.report(era, oom_eras.made_up(9)) for era in oom_eras.ERAS.values()]
    for _ in range(250):
        lines = list(rng.choice(sources))
        for _ in range(rng.randrange(1, 25)):
            at = rng.randrange(len(lines))
            line = lines[at]
            kind = rng.randrange(6)
            if kind == 0:
                del lines[at]
            elif kind == 1:
                lines.insert(at, rng.choice(rng.choice(sources)))
            elif kind == 2:
                lines[at] = line[: rng.randrange(len(line) + 1)]
            elif kind == 3:
                place = rng.randrange(len(line) + 1)
                lines[at] = line[:place] + rng.choice("\0-9(),:[]=\x1bx \udc80") * 3 + line[place:]
            elif kind == 4:
                lines[at] = "".join(rng.choice("0123456789") if c.isdigit() else c for c in line)
            else:
                lines[at] = line + rng.choice(rng.choice(sources))
            if not lines:
                break
        _check_survives("\n".join(lines))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400), st.sampled_from(sorted(oom_eras.ERAS)), st.integers(0, 60))
def test_any_text_in_the_middle_of_a_report_is_survived(junk: str, name: str, at: int) -> None:
    lines = oom_eras.report(oom_eras.ERAS[name], oom_eras.made_up(0))
    lines.insert(min(at, len(lines)), junk)
    _check_survives("\n".join(lines))
    _check_survives(junk)


def test_hostile_lines_are_read_in_linear_time() -> None:
    for piece in (
        "oom-kill:constraint=,cpuset=", "Node 0 DMA: " + "1*4kB " * 3, "a:1kB ", "[ 1.000000] ",
        "Killed process 1 (", " invoked oom-killer: ", '{"MESSAGE": ',
    ):  # fmt: skip
        _check_survives(piece * 5_000)
        _check_survives("\n".join([piece] * 5_000))


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_report_in_a_large_log_is_read_as_if_it_stood_alone(form: str) -> None:
    era, state = oom_eras.ERAS["6.1"], oom_eras.made_up(6)
    lines = oom_eras.report(era, state)
    before = [f"audit: type=1400 something {n}" for n in range(3000)]
    text = [*before, *lines, *before]
    if form == "json":
        text = [json.dumps({"MESSAGE": line, "_TRANSPORT": "kernel"}) for line in text]
    log = read_oom_log("\n".join(text))
    (report,) = log.reports
    _compare(report, era, state)
    assert log.lines == len(text)
    assert report.first_line == len(before) + 1
    assert report.last_line == len(before) + len(lines)


def test_a_trace_of_guesses_alone_is_kept_as_such() -> None:
    text = (
        "a invoked oom-killer: gfp_mask=0x201da, order=0\nCall Trace:\n [<ffffffff81>] ? f+0x1/0x2"
    )
    report = _only(text)
    assert (report.trace, report.doubtful_trace) == ([], ["f"])
    assert "trace" not in report.missing


def test_origin_is_kernel_program_or_unknown() -> None:
    text = "[ 1.5] a: b\nMay  1 10:00:00 h cron[5]: job\nplain: words"
    assert [line.origin for line in log_lines(text)] == [
        Origin.KERNEL,
        Origin.PROGRAM,
        Origin.UNKNOWN,
    ]


def test_a_group_of_cgroup_v1_without_a_limit_on_swap_is_read_whole() -> None:
    """Printed by 6.18: the largest number that a page counter has, in bytes."""
    lines = [
        "holder invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        "memory: usage 65536kB, limit 65536kB, failcnt 71",
        "memory+swap: usage 65536kB, limit 9007199254740988kB, failcnt 0",
        "Memory cgroup stats for /box:",
        "rss 66850816",
        "hierarchical_memory_limit 67108864",
        "hierarchical_memsw_limit 9223372036854771712",
        "total_rss 66850816",
    ]
    (report,) = read_oom_log("\n".join(f"[    1.000000] {line}" for line in lines)).reports
    assert not report.unread_lines
    assert report.memcg is not None
    assert report.memcg.groups[-1].stat["hierarchical_memsw_limit"] == 9223372036854771712
    assert report.memcg.memsw is not None
    assert report.memcg.memsw.limit_kib is None
