"""Views that people know from phones, from a tree as it is pulled off one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memtwin.analysis.android_memory import CATEGORIES, category_of
from memtwin.cli.main import outcome
from memtwin.observe.map_files import MapArea

# path, permissions, KiB of Rss, Pss, Private_Clean, Private_Dirty, Swap, SwapPss
APP = [
    ("/system/framework/arm64/boot.art", "rw-p", 800, 200, 0, 120, 40, 20),
    ("[anon:dalvik-main space (region space)]", "rw-p", 4000, 4000, 0, 4000, 512, 512),
    ("[anon:dalvik-LinearAlloc]", "rw-p", 300, 300, 0, 300, 0, 0),
    ("/memfd:jit-cache (deleted)", "r-xs", 64, 64, 0, 64, 0, 0),
    ("[anon:scudo:primary]", "rw-p", 2000, 2000, 0, 2000, 256, 256),
    ("[anon:stack_and_tls:4712]", "rw-p", 32, 32, 0, 32, 0, 0),
    ("[stack]", "rw-p", 24, 24, 0, 24, 0, 0),
    ("/dev/kgsl-3d0", "rw-s", 1000, 1000, 0, 1000, 0, 0),
    ("/dev/ashmem/CursorWindow: /data/a.db", "rw-s", 8, 8, 0, 8, 0, 0),
    ("/dev/ashmem/shared", "rw-s", 16, 8, 0, 0, 0, 0),
    ("/dev/binderfs/binder", "r--p", 4, 4, 4, 0, 0, 0),
    ("/system/lib64/libc.so", "r-xp", 900, 90, 0, 0, 0, 0),
    ("/data/app/com.example/lib/arm64/libapp.so", "r-xp", 500, 500, 400, 100, 0, 0),
    ("/data/app/com.example/base.apk", "r--p", 300, 300, 300, 0, 0, 0),
    ("/data/app/com.example/oat/arm64/base.vdex", "r--p", 200, 200, 200, 0, 0, 0),
    ("/system/fonts/Roboto.ttf", "r--p", 60, 20, 0, 0, 0, 0),
    ("/data/misc/something", "r--p", 12, 12, 12, 0, 0, 0),
    ("", "rw-p", 40, 40, 0, 40, 0, 0),
]
DAEMON = [
    ("/system/bin/lmkd", "r-xp", 100, 50, 40, 0, 0, 0),
    ("[heap]", "rw-p", 60, 60, 0, 60, 8, 8),
]
FIGURES = ("Rss", "Pss", "Private_Clean", "Private_Dirty", "Swap", "SwapPss")
MEMINFO = """MemTotal:        3800000 kB
MemFree:          200000 kB
Buffers:           10000 kB
Cached:          1200000 kB
SwapTotal:       2000000 kB
SwapFree:        1000000 kB
Shmem:             20000 kB
Slab:             180000 kB
"""


def smaps_of(areas: list[tuple[str, str, int, int, int, int, int, int]]) -> str:
    lines, start = [], 0x7000000000
    for path, perms, *figures in areas:
        end = start + (8 << 20)
        lines.append(f"{start:x}-{end:x} {perms} 00000000 fe:00 77  {path}")
        lines += [f"{name}:  {kib} kB" for name, kib in zip(FIGURES, figures, strict=True)]
        lines.append("VmFlags: rd mr mw me")
        start = end
    return "\n".join(lines) + "\n"


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """/proc and /sys of a phone with an app, a daemon, a kernel thread and zram; no rollup."""
    processes = {
        4711: ("com.example", "com.example\0", APP),
        300: ("lmkd", "/system/bin/lmkd\0", DAEMON),
        2: ("kthreadd", "", []),
    }
    for pid, (comm, command, areas) in processes.items():
        directory = tmp_path / "proc" / str(pid)
        directory.mkdir(parents=True)
        vsize, kind = len(areas) * (8 << 20), 0 if areas else 0x20_0000
        stat = f"{pid} ({comm}) S 1 1 0 0 -1 {kind} 9 0 1 0 0 0 0 0 20 0 5 0 99 {vsize} 99 0 0\n"
        (directory / "stat").write_text(stat)
        rss = sum(area[2] for area in areas)
        memory = f"VmSize: {vsize >> 10} kB\nVmRSS: {rss} kB\n" if areas else ""
        (directory / "status").write_text(f"Name:\t{comm}\nUid:\t1\t10100\t1\t1\n{memory}")
        (directory / "cmdline").write_text(command)
        (directory / "smaps").write_text(smaps_of(areas))
    (tmp_path / "proc" / "meminfo").write_text(MEMINFO)
    zram = tmp_path / "sys" / "block" / "zram0"
    zram.mkdir(parents=True)
    (zram / "mm_stat").write_text("1024000000 300000000 256000000 0 300000000 100 0 0 0\n")
    return tmp_path


def test_procrank_ranks_by_pss_with_swap_zram_and_ram(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["procrank", "--root", str(phone)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "PID", "Vss", "Rss", "Pss", "Uss", "Swap", "PSwap", "USwap", "ZSwap", "cmdline",
    ]  # fmt: skip
    pss, rss = sum(area[3] for area in APP), sum(area[2] for area in APP)
    uss, swap_pss = sum(area[4] + area[5] for area in APP), sum(area[7] for area in APP)
    swap = sum(area[6] for area in APP)
    z_swap = swap_pss * 256_000_000 // (1_000_000 * 1024)
    assert lines[1].split() == [
        "4711", f"{len(APP) * 8192}K", f"{rss}K", f"{pss}K", f"{uss}K", f"{swap}K",
        f"{swap_pss}K", "-", f"{z_swap}K", "com.example",
    ]  # fmt: skip
    assert lines[2].split()[0] == "300"
    assert lines[4].split()[:2] == [f"{pss + 110}K", f"{uss + 100}K"]
    assert lines[4].split()[-1] == "TOTAL"
    assert lines[6] == "ZRAM: 250000K physical used for 1000000K in swap (2000000K total swap)"
    assert lines[7] == (
        " RAM: 3800000K total, 200000K free, 10000K buffers, 1200000K cached, 20000K shmem,"
        " 180000K slab"
    )
    assert "2 of 2 processes readable" in lines
    assert any(line.startswith("absent: USwap") for line in lines)


def test_procmem_shows_each_mapping_and_the_total(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["procmem", "4711", "--root", str(phone)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["Vss", "Rss", "Pss", "Uss", "ShCl", "ShDi", "PrCl", "PrDi", "Name"]
    assert lines[2].split()[:4] == ["8192K", "800K", "200K", "120K"]
    total = lines[-1].split()
    assert total[-1] == "TOTAL"
    assert total[1] == f"{sum(area[2] for area in APP)}K"


def test_dumpsys_sorts_mappings_into_the_categories_that_people_know(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["dumpsys-meminfo", "4711", "--root", str(phone), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    pss = {row["name"]: row["pss_kib"] for row in document["rows"]}
    assert pss == {
        "Native Heap": 2000, "Dalvik Heap": 4000, "Dalvik Other": 364, "Stack": 56, "Cursor": 8,
        "Ashmem": 8, "Gfx dev": 1000, "Other dev": 4, ".so mmap": 590, ".jar mmap": 0,
        ".apk mmap": 300, ".ttf mmap": 20, ".dex mmap": 200, ".oat mmap": 0, ".art mmap": 200,
        "Other mmap": 12, "Unknown": 40,
    }  # fmt: skip
    totals = document["totals"]
    assert totals["pss_kib"]["Java Heap"] == 4000 + 120
    assert totals["pss_kib"]["Code"] == 500 + 300 + 200
    assert sum(totals["pss_kib"].values()) == totals["total_pss_kib"]
    assert sum(totals["rss_kib"].values()) == totals["total_rss_kib"]
    assert totals["total_pss_kib"] == sum(area[3] + area[7] for area in APP)  # swapped ones too
    assert outcome(["dumpsys-meminfo", "4711", "--root", str(phone)]) == 0
    out = capsys.readouterr().out
    assert "** MEMINFO in pid 4711 [com.example] **" in out
    assert "App Summary" in out
    assert outcome(["dumpsys-meminfo", "9", "--root", str(phone)]) == 2


def test_every_mapping_has_one_of_the_categories() -> None:
    names = [
        "[vdso]",
        "[anon:.bss]",
        "/x.jar",
        "/dev/null",
        "/a.b/c",
        "/x.oat",
        "[anon:GWP-ASan x]",
    ]
    for path in names + [area[0] for area in APP]:
        assert category_of(MapArea(0, 4096, "r--p", 0, "fe:00", 1, path)) in CATEGORIES
