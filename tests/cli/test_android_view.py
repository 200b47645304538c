"""Views that people know from phones, from a tree as it is pulled off one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memtwin.analysis.android_machine import oom_group
from memtwin.analysis.android_memory import CATEGORIES, heap_of
from memtwin.cli.main import outcome

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
OTHER_APP = [
    ("[anon:dalvik-main space (region space)]", "rw-p", 700, 700, 0, 700, 0, 0),
    ("/system/lib64/libc.so", "r-xp", 900, 90, 0, 0, 0, 0),
]
ZYGOTE = [("/system/lib64/libc.so", "r-xp", 900, 90, 0, 0, 0, 0)]
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
KReclaimable:      90000 kB
Slab:             180000 kB
SReclaimable:      80000 kB
SUnreclaim:       100000 kB
PageTables:        40000 kB
VmallocUsed:       50000 kB
Percpu:            10000 kB
Mapped:           600000 kB
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
    """/proc and /sys of a phone: apps of two users, a zygote, a daemon, a kernel thread, zram."""
    processes = {
        4711: ("com.example", "com.example\0\0", APP, 400, 10100, 0),
        4800: ("com.other:bg", "com.other:bg\0", OTHER_APP, 400, 1010200, 935),
        400: ("main", "zygote64\0", ZYGOTE, 1, 0, -1000),
        300: ("lmkd", "/system/bin/lmkd\0", DAEMON, 1, 1069, -1000),
        2: ("kthreadd", "", [], 0, 0, 0),
    }
    for pid, (comm, command, areas, ppid, uid, adj) in processes.items():
        directory = tmp_path / "proc" / str(pid)
        directory.mkdir(parents=True)
        vsize, kind = len(areas) * (8 << 20), 0 if areas else 0x20_0000
        stat = f"{pid} ({comm}) S {ppid} 1 0 0 -1 {kind} 9 0 1 0 0 0 0 0 20 0 5 0 99 {vsize}"
        (directory / "stat").write_text(f"{stat} 99 0 0\n")
        rss = sum(area[2] for area in areas)
        memory = f"VmSize: {vsize >> 10} kB\nVmRSS: {rss} kB\n" if areas else ""
        (directory / "status").write_text(f"Name:\t{comm}\nUid:\t1\t{uid}\t1\t1\n{memory}")
        (directory / "cmdline").write_text(command)
        (directory / "oom_score").write_text("0\n")
        (directory / "oom_score_adj").write_text(f"{adj}\n")
        (directory / "smaps").write_text(smaps_of(areas))
    (tmp_path / "proc" / "meminfo").write_text(MEMINFO)
    (tmp_path / "proc" / "uptime").write_text("123.45 900.10\n")
    zram = tmp_path / "sys" / "block" / "zram0"
    zram.mkdir(parents=True)
    (zram / "mm_stat").write_text("1024000000 300000000 256000000 0 300000000 100 0 0 0\n")
    ksm = tmp_path / "sys" / "kernel" / "mm" / "ksm"
    ksm.mkdir(parents=True)
    for name, pages in (("shared", 10), ("sharing", 25), ("unshared", 3), ("volatile", 1)):
        (ksm / f"pages_{name}").write_text(f"{pages}\n")
    return tmp_path


def printed(words: list[str], phone: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert outcome([*words, "--root", str(phone)]) == 0
    return capsys.readouterr().out


def test_procrank_is_laid_out_as_on_a_phone(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # widths: PID 5, oom 5, Vss 8, all others 7, two blanks behind each
    assert printed(["procrank"], phone, capsys) == (
        "  PID       Vss      Rss      Pss      Uss     Swap    PSwap    USwap    ZSwap  cmdline\n"
        " 4711   147456K   10260K    8802K    8604K     808K     788K        -     197K"
        "  com.example\n"
        " 4800    16384K    1600K     790K     700K       0K       0K        -       0K"
        "  com.other:bg\n"
        "  300    16384K     160K     110K     100K       8K       8K        -       2K"
        "  /system/bin/lmkd\n"
        "  400     8192K     900K      90K       0K       0K       0K        -       0K  zygote64\n"
        "                           ------   ------   ------   ------   ------   ------  ------\n"
        "                            9792K    9404K     816K     796K        -     199K  TOTAL\n"
        "\n"
        "ZRAM: 250000K physical used for 1000000K in swap (2000000K total swap)\n"
        " RAM: 3800000K total, 200000K free, 10000K buffers, 1200000K cached, 20000K shmem,"
        " 180000K slab\n"
        "4 of 4 processes readable\n"
        "absent: USwap (smaps does not tell which swapped pages no one shares)\n"
    )


def test_procrank_sorts_by_what_it_is_asked_for(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(["procrank", "-o"], phone, capsys).splitlines()
    assert lines[0].startswith("  PID    oom       Vss ")
    assert lines[1].startswith(" 4800    935    16384K ")
    assert [line.split()[1] for line in lines[1:5]] == ["935", "0", "-1000", "-1000"]
    assert lines[5].startswith(" " * 34 + "------")
    lines = printed(["procrank", "-v", "-R"], phone, capsys).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["400", "300", "4800", "4711"]
    assert outcome(["procrank", "-v", "-s", "--root", str(phone)]) == 2


def test_procmem_is_laid_out_as_on_a_phone(phone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(["procmem", "300"], phone, capsys) == (
        "    Vss      Rss      Pss      Uss     ShCl     ShDi     PrCl     PrDi      THP    Flags"
        "  Name\n"
        + "-------  " * 10 + "\n"
        "  8192K     100K      50K      40K       0K       0K      40K       0K       0K    r-xp"
        "  /system/bin/lmkd\n"
        "  8192K      60K      60K      60K       0K       0K       0K      60K       0K    rw-p"
        "  [heap]\n"
        + "-------  " * 10 + "\n"
        " 16384K     160K     110K     100K       0K       0K      40K      60K       0K TOTAL\n"
    )  # fmt: skip
    lines = printed(["procmem", "4711", "-u", "-h"], phone, capsys).splitlines()
    assert lines[2].endswith("    rw-p  [anon:dalvik-main space (region space)]")
    assert len(lines) == 2 + len(APP) + 2


def test_dumpsys_of_an_app_is_laid_out_as_on_a_phone(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(["dumpsys-meminfo", "4711"], phone, capsys)
    # "%13s" and then "%8s" behind a blank; lines without a heap of their own end in three of them
    blank = " " * 27
    assert out.startswith(
        "Applications Memory Usage (in Kilobytes):\nUptime: - Realtime: 123450\n\n"
        "** MEMINFO in pid 4711 [com.example] **\n"
        "                   Pss  Private  Private  SwapPss      Rss     Heap     Heap     Heap\n"
        "                 Total    Dirty    Clean    Dirty    Total     Size    Alloc     Free\n"
        "                ------   ------   ------   ------   ------   ------   ------   ------\n"
        "  Native Heap     2000     2000        0      256     2000        -        -        -\n"
        "  Dalvik Heap     4000     4000        0      512     4000        -        -        -\n"
        f" Dalvik Other      364      364        0        0      364{blank}\n"
        f"        Stack       56       56        0        0       56{blank}\n"
        f"       Cursor        8        8        0        0        8{blank}\n"
        f"       Ashmem        8        0        0        0       16{blank}\n"
        f"      Gfx dev     1000     1000        0        0     1000{blank}\n"
        f"    Other dev        4        0        4        0        4{blank}\n"
        f"     .so mmap      590      100      400        0     1400{blank}\n"
        f"    .apk mmap      300        0      300        0      300{blank}\n"
        f"    .ttf mmap       20        0        0        0       60{blank}\n"
        f"    .dex mmap      200        0      200        0      200{blank}\n"
        f"    .art mmap      200      120        0       20      800{blank}\n"
        f"   Other mmap       12        0       12        0       12{blank}\n"
        f"      Unknown       40       40        0        0       40{blank}\n"
        "        TOTAL     9590     7688      916      788    10260        -        -        -\n"
        " \n"
        " App Summary\n"
    ), out  # fmt: skip


def test_the_summary_of_an_app_adds_up(phone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(["dumpsys-meminfo", "4711", "-s"], phone, capsys)
    assert "Native Heap  " not in out
    wide = " " * 22
    assert (
        " \n"
        " App Summary\n"
        f"                       Pss(KB){wide}  Rss(KB)\n"
        f"                        ------{wide}   ------\n"
        f"           Java Heap:     4120{wide}     4800\n"
        f"         Native Heap:     2000{wide}     2000\n"
        f"                Code:     1064{wide}     2024\n"
        f"               Stack:       56{wide}       56\n"
        f"            Graphics:     1000{wide}     1000\n"
        "       Private Other:      364\n"
        "              System:      986\n"
        f"             Unknown:         {wide}      380\n"
        " \n"
        "           TOTAL PSS:     9590            TOTAL RSS:    10260       TOTAL SWAP PSS:"
        "      788\n"
    ) in out
    document = json.loads(printed(["dumpsys-meminfo", "4711", "--json"], phone, capsys))
    totals = document["totals"]
    assert sum(totals["pss_kib"].values()) == totals["total_pss_kib"]
    assert sum(totals["rss_kib"].values()) == totals["total_rss_kib"]
    assert totals["total_pss_kib"] == sum(area[3] + area[7] for area in APP)  # swapped ones too
    assert outcome(["dumpsys-meminfo", "9", "--root", str(phone)]) == 2


def test_details_of_dalvik_are_shown_on_demand(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(["dumpsys-meminfo", "4711", "-a"], phone, capsys)
    z = " " * 27 + "\n"
    details = out[out.index(" Dalvik Details") : out.index(" App Summary")]
    assert details == (
        " Dalvik Details\n"
        f"        .Heap     4000        0        0     4000        0        0      512     4000{z}"
        f" .LinearAlloc      300        0        0      300        0        0        0      300{z}"
        f"      .AppJIT       64        0        0       64        0        0        0       64{z}"
        f"    .App vdex      200      200        0        0        0      200        0      200{z}"
        f"    .Boot art      200        0        0      120        0        0       20      800{z}"
        " \n"
    )


def test_dumpsys_of_a_phone_lists_processes_importance_categories_and_ram(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(["dumpsys-meminfo", "-S"], phone, capsys)
    assert out.startswith(
        "Applications Memory Usage (in Kilobytes):\nUptime: - Realtime: 123450\n\n\n"
        "Total RSS by process:\n"
        "     10,260K: com.example (pid 4711)\n"
        "      1,600K: com.other:bg (pid 4800) (user 10)\n"
        "        900K: zygote64 (pid 400)\n"
        "        160K: lmkd (pid 300)\n"
        "\n"
        "Total RSS by OOM adjustment:\n"
        "      1,060K: Native\n"
        "            900K: zygote64 (pid 400)\n"
        "            160K: lmkd (pid 300)\n"
        "     10,260K: Foreground\n"
        "         10,260K: com.example (pid 4711)\n"
        "      1,600K: Cached\n"
        "          1,600K: com.other:bg (pid 4800) (user 10)\n"
        "\n"
        "Total RSS by category:\n"
        "      4,700K: Dalvik\n"
        "      3,200K: .so mmap\n"
        "      2,060K: Native\n"
    ), out
    # all of PSS is swapped pages' too; those of swap stand behind a name of 60
    assert f"      9,590K: {'com.example (pid 4711)':<60}(      788K in swap)\n" in out
    assert f": {'com.other:bg (pid 4800)':<60} (user 10)(        0K in swap)\n" in out
    assert "Total PSS by OOM adjustment:\n        208K: Native" in out
    # cached: 10000 + 90000 + 1200000 - 600000; kernel: 20000 + 100000 + 50000 + 40000 + 10000
    # used: PSS of all but the cached app; lost: 3800000 - (10588 - 796) - 200000 - 700000 + 20000
    #   - 220000 - 250000
    assert (
        "\nTotal RAM: 3,800,000K (status -)\n"
        " Free RAM:   900,790K (      790K cached pss +   700,000K cached kernel +"
        "   200,000K free)\n"
        " Used RAM:   229,798K (    9,798K used pss +   220,000K kernel)\n"
        " Lost RAM: 2,440,208K\n"
        "     ZRAM:   250,000K physical used for 1,000,000K in swap (2,000,000K total swap)\n"
        "      KSM:       100K saved from shared        40K                  12K unshared;"
        "         4K volatile\n"
        "4 of 4 processes readable\n"
        "absent: Uptime "
    ) in out
    document = json.loads(printed(["dumpsys-meminfo", "--json"], phone, capsys))
    by = {
        kind: sum(row["pss_kib"] for row in document["rows"] if row["by"] == kind)
        for kind in ("process", "oom adjustment", "category")
    }
    assert by["process"] == by["oom adjustment"] == by["category"] + 796 == 10588


def test_without_a_zygote_every_process_is_native_and_that_is_said(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (phone / "proc" / "400" / "cmdline").write_text("init\0")
    out = printed(["dumpsys-meminfo", "--oom"], phone, capsys)
    assert "Total RSS by process" not in out
    assert "Foreground" not in out
    assert "found no child of a zygote: every process counts as native" in out


def test_librank_ranks_mappings_and_in_them_processes(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(["librank", "-P", "/system/lib64"], phone, capsys)
    assert out == (
        " RSStot       VSS      RSS      PSS      USS  Name/PID\n"
        "   270K                                       /system/lib64/libc.so\n"
        "            8192K     900K      90K       0K    zygote64 [400]\n"
        "            8192K     900K      90K       0K    com.example [4711]\n"
        "            8192K     900K      90K       0K    com.other:bg [4800]\n"
        "4 of 4 processes readable\n"
    )
    lines = printed(["librank"], phone, capsys).splitlines()
    assert lines[0] == " RSStot       VSS      RSS      PSS      USS     Swap  Name/PID"
    assert lines[1].split() == ["4700K", "[anon:dalvik-main", "space", "(region", "space)]"]
    assert not any(line.endswith("[heap]") for line in lines)
    assert any(
        line.endswith("[heap]") for line in printed(["librank", "-a"], phone, capsys).splitlines()
    )


def test_showmap_sums_mappings_of_one_name_and_gives_bss_to_its_library(
    phone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    areas = [
        ("/system/lib64/b.so", "r-xp", 40, 20, 8, 0, 0, 0),
        ("/system/lib64/b.so", "rw-p", 8, 8, 0, 8, 0, 0),
        ("", "rw-p", 4, 4, 0, 4, 0, 0),
        ("[anon:scudo:primary]", "rw-p", 100, 100, 0, 100, 16, 12),
        ("", "rw-p", 12, 12, 0, 12, 0, 0),
    ]
    (phone / "proc" / "300" / "smaps").write_text(smaps_of(areas))
    out = printed(["showmap", "300"], phone, capsys)
    assert out.splitlines()[0] == (
        " virtual                     shared   shared  private  private                   "
        "Anon      Shmem     File      Shared   Private"
    )
    assert out.splitlines()[3:6] == [
        "   24576       52       32        0        0        8       12        0        0         0"
        "         0         0        0        0        0    3 /system/lib64/b.so",
        "    8192      100      100        0        0        0      100       16       12         0"
        "         0         0        0        0        0    1 [anon:scudo:primary]",
        "    8192       12       12        0        0        0       12        0        0         0"
        "         0         0        0        0        0    1 [anon]",
    ]
    assert out.splitlines()[-1].split()[-2:] == ["5", "TOTAL"]
    apart = printed(["showmap", "300", "-v"], phone, capsys)
    assert "  rw- /system/lib64/b.so [bss]\n" in apart
    assert "      7000000000       7000800000 " in printed(["showmap", "300", "-a"], phone, capsys)
    assert out.count("\n") - 1 == printed(["showmap", "300", "-t"], phone, capsys).count("\n") - 1


def test_every_mapping_is_in_the_heap_that_libmeminfo_puts_it_in() -> None:
    expected = {
        "[vdso]": ("Other mmap", ""), "": ("Unknown", ""), "[anon:.bss]": ("Unknown", ""),
        "[anon:libc_malloc]": ("Native Heap", ""), "[anon:GWP-ASan x]": ("Native Heap", ""),
        "[stack]": ("Stack", ""), "[anon:stack_and_tls:7]": ("Stack", ""),
        "/x/lib.so": (".so mmap", ""), "/x/lib.so (deleted)": (".so mmap", ""),
        "/x/lib.so.1": ("Other mmap", ""), "/x.jar": (".jar mmap", ""),
        "/x/base.odex": (".dex mmap", ".App dex"),
        "/x/classes.dex!y": (".dex mmap", ".App dex"),
        "/apex/a.vdex": (".dex mmap", ".Boot vdex"), "/data/a.vdex": (".dex mmap", ".App vdex"),
        "/x.oat": (".oat mmap", ""),
        "[anon:dalvik-/system/framework/boot.art]": (".art mmap", ".Boot art"),
        "[anon:dalvik-/data/a.art]": (".art mmap", ".App art"),
        "/dev/null": ("Other dev", ""), "/dev/kgsl-3d0": ("Gfx dev", ""),
        "/dev/mali0": ("Other dev", ""), "/dev/ashmem/CursorWindow: /x": ("Cursor", ""),
        "/dev/ashmem/jit-zygote-cache": ("Dalvik Other", ".ZygoteJIT"),
        "/dev/ashmem/x": ("Ashmem", ""), "/dmabuf:x": ("Other mmap", ""),
        "/memfd:jit-cache (deleted)": ("Dalvik Other", ".AppJIT"),
        "/memfd:jit-zygote-cache (deleted)": ("Dalvik Other", ".ZygoteJIT"),
        "/memfd:x": ("Other mmap", ""),
        "[anon:dalvik-alloc space]": ("Dalvik Heap", ".Heap"),
        "[anon:dalvik-free list large object space]": ("Dalvik Heap", ".LOS"),
        "[anon:dalvik-non moving space]": ("Dalvik Heap", ".NonMoving"),
        "[anon:dalvik-zygote space]": ("Dalvik Heap", ".Zygote"),
        "[anon:dalvik-region space]": ("Dalvik Other", ".GC"),
        "[anon:dalvik-indirect ref table]": ("Dalvik Other", ".IndirectRef"),
        "[anon:dalvik-data-code-cache]": ("Dalvik Other", ".AppJIT"),
        "[anon:dalvik-CompilerMetadata]": ("Dalvik Other", ".CompilerMetadata"),
        "[anon:dalvik-mark stack]": ("Dalvik Other", ".GC"),
    }  # fmt: skip
    assert {path: tuple(heap_of(path)) for path in expected} == expected
    assert all(heap_of(path).name in CATEGORIES for path, *_ in APP)


def test_importance_has_the_names_of_the_activity_manager() -> None:
    bounds = [-1000, -901, -900, -701, -700, -1, 0, 99, 100, 224, 225, 250, 300, 999, 1000]
    assert [oom_group(adj) for adj in bounds] == [
        "Native", "Native", "System", "Persistent", "Persistent Service", "Persistent Service",
        "Foreground", "Foreground", "Visible", "Perceptible", "Perceptible Medium",
        "Perceptible Low", "Backup", "Cached", "Cached",
    ]  # fmt: skip
