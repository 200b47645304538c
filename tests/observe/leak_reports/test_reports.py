"""Reports of every tool are read to the figure, whole or broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memtwin.errors import UserError
from memtwin.observe.leak_reports import LeakReport, Tally, read_reports

# as valgrind 3.15 and gcc 8 print them
VALGRIND = """\
==3704== Memcheck, a memory error detector
==3704== Using Valgrind-3.15.0 and LibVEX; rerun with -h for copyright info
==3704== Command: ./a.out
==3704==
==3704== Process terminating with default action of signal 2 (SIGINT)
==3704==    at 0x4938334: clock_nanosleep@@GLIBC_2.17 (clock_nanosleep.c:78)
==3704==
==3704== HEAP SUMMARY:
==3704==     in use at exit: 1,400,832 bytes in 114 blocks
==3704==   total heap usage: 228 allocs, 114 frees, 1,517,568 bytes allocated
==3704==
==3704== 1,388,544 bytes in 113 blocks are definitely lost in loss record 2 of 2
==3704==    at 0x483B7F3: malloc (in /usr/lib/valgrind/vgpreload_memcheck-amd64-linux.so)
==3704==    by 0x10919E: main (leak-example.c:6)
==3704==
==3704== LEAK SUMMARY:
==3704==    definitely lost: 1,388,544 bytes in 113 blocks
==3704==    indirectly lost: 0 bytes in 0 blocks
==3704==      possibly lost: 0 bytes in 0 blocks
==3704==    still reachable: 12,288 bytes in 1 blocks
==3704==         suppressed: 0 bytes in 0 blocks
==3704== ERROR SUMMARY: 1 errors from 1 contexts (suppressed: 0 from 0)
"""
SANITIZER = """\

=================================================================
==3760==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 122880 byte(s) in 10 object(s) allocated from:
    #0 0x7fbca40b4bc8 in malloc (/lib/x86_64-linux-gnu/libasan.so.5+0x10dbc8)
    #1 0x5555bbafb225 in main lsan.c:9
    #2 0x7fbca3ddc0b2 in __libc_start_main (/lib/x86_64-linux-gnu/libc.so.6+0x270b2)

SUMMARY: AddressSanitizer: 122880 byte(s) leaked in 10 allocation(s).
"""
XML = """\
<?xml version="1.0"?>
<valgrindoutput>
<protocolversion>4</protocolversion>
<preamble><line>Memcheck, a memory error detector</line>
<line>Using Valgrind-3.19.0 and LibVEX; rerun with -h for copyright info</line></preamble>
<pid>812</pid>
<args><vargv><exe>valgrind</exe></vargv><argv><exe>./a.out</exe><arg>7</arg></argv></args>
<error><unique>0x1</unique><tid>1</tid><kind>Leak_DefinitelyLost</kind>
<xwhat><text>88 (8 direct, 80 indirect) bytes in 1 blocks are definitely lost in loss record 1 of 2
</text><leakedbytes>88</leakedbytes><leakedblocks>1</leakedblocks></xwhat>
<stack><frame><ip>0x483877F</ip><obj>/usr/lib/vgpreload.so</obj><fn>malloc</fn></frame>
<frame><ip>0x109150</ip><obj>/tmp/a.out</obj><fn>main</fn><dir>/tmp</dir><file>a.c</file>
<line>6</line></frame></stack></error>
<error><unique>0x2</unique><tid>1</tid><kind>Leak_IndirectlyLost</kind>
<xwhat><text>80 bytes in 1 blocks are indirectly lost in loss record 2 of 2</text>
<leakedbytes>80</leakedbytes><leakedblocks>1</leakedblocks></xwhat>
<stack><frame><ip>0x483877F</ip><fn>malloc</fn></frame></stack></error>
<error><unique>0x3</unique><tid>1</tid><kind>InvalidRead</kind>
<what>Invalid read of size 4</what></error>
<status><state>FINISHED</state></status>
</valgrindoutput>
"""
KMEMLEAK = """\
unreferenced object 0xffff8881041a2c00 (size 128):
  comm "insmod", pid 1234, jiffies 4294940231 (age 20.300s)
  hex dump (first 32 bytes):
    6c 65 61 6b 65 64 20 6e 61 6d 65 00 6b 6b 6b 6b  leaked name.kkkk
    6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b a5  kkkkkkkkkkkkkkk.
  backtrace (crc 5c4b3a2d):
    [<000000005c2e1b2f>] kmalloc_trace+0x2a/0xa0
    [<00000000a7c1b7c3>] leak_init+0x3c/0x1000 [leaky]
    do_one_initcall+0x5b/0x300
unreferenced object 0xffff8881041a2d00 (size 128):
  comm "insmod", pid 1234, jiffies 4294940231 (age 20.300s)
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 5c4b3a2d):
    [<000000005c2e1b2f>] kmalloc_trace+0x2a/0xa0
    [<00000000a7c1b7c3>] leak_init+0x3c/0x1000 [leaky]
    do_one_initcall+0x5b/0x300
unreferenced object 0xffff888100000000 (size 64):
  comm "swapper/0", pid 1, jiffies 4294667296
  backtrace (crc 0):
    start_kernel+0x1/0x2
"""


def read(tmp_path: Path, text: str) -> list[LeakReport]:
    path = tmp_path / "report"
    path.write_text(text)
    return read_reports(path)


def test_valgrinds_text_is_read_to_the_figure(tmp_path: Path) -> None:
    (report,) = read(tmp_path, VALGRIND)
    assert (report.tool, report.tool_version, report.pid) == ("valgrind", "3.15.0", 3704)
    assert report.command == "./a.out"
    assert report.in_use == Tally(114, 1_400_832)
    assert (report.allocs, report.frees, report.allocated_bytes) == (228, 114, 1_517_568)
    assert report.kinds == {
        "definite": Tally(113, 1_388_544),
        "indirect": Tally(),
        "possible": Tally(),
        "reachable": Tally(1, 12_288),
    }
    (record,) = report.records
    assert [frame.shown() for frame in record.stack] == [
        "malloc (vgpreload_memcheck-amd64-linux.so)",
        "main (leak-example.c:6)",
    ]
    assert any("SIGINT" in note for note in report.notes)
    assert [one.what for one in report.absent] == ["records of reachable blocks"]


def test_a_report_copied_with_other_text_around_it_is_read_too(tmp_path: Path) -> None:
    noise = "some output\n" + VALGRIND.replace("==3704== HEAP", "more output\n==3704== HEAP")
    assert read(tmp_path, noise)[0].in_use == Tally(114, 1_400_832)


def test_each_process_of_a_text_has_its_own_report(tmp_path: Path) -> None:
    reports = read(tmp_path, VALGRIND + VALGRIND.replace("3704", "3705").replace("113", "1"))
    assert [report.pid for report in reports] == [3704, 3705]
    assert reports[1].kinds["definite"] == Tally(1, 1_388_544)


def test_direct_and_indirect_bytes_are_kept_apart(tmp_path: Path) -> None:
    line = "==3704== 1,388,544 (1,000 direct, 1,387,544 indirect) bytes in 113 blocks are"
    text = VALGRIND.replace("==3704== 1,388,544 bytes in 113 blocks are", line, 1)
    record = read(tmp_path, text)[0].records[0]
    assert (record.bytes, record.indirect_bytes, record.blocks) == (1000, 1_387_544, 113)


def test_a_report_that_ends_before_its_summary_says_what_is_absent(tmp_path: Path) -> None:
    (report,) = read(tmp_path, VALGRIND.split("==3704== HEAP")[0])
    assert set(report.kinds.values()) == {None}
    assert {one.what for one in report.absent} == {"lost blocks", "in use at exit"}


def test_valgrinds_xml_is_read_to_the_figure(tmp_path: Path) -> None:
    (report,) = read(tmp_path, XML)
    assert (report.tool_version, report.pid, report.command) == ("3.19.0", 812, "./a.out 7")
    assert report.kinds["definite"] == Tally(1, 8)
    assert report.kinds["indirect"] == Tally(1, 80)
    assert report.records[0].indirect_bytes == 80
    assert report.records[0].stack[1].shown() == "main (a.c:6)"
    assert report.other_errors == ["Invalid read of size 4"]
    assert report.notes == []


def test_xml_that_breaks_off_keeps_what_stands_before(tmp_path: Path) -> None:
    (report,) = read(tmp_path, XML.split("<error><unique>0x2")[0] + "<error><uni")
    assert report.kinds["definite"] == Tally(1, 8)
    assert any("broken at its end" in note for note in report.notes)
    assert any("did not finish" in note for note in report.notes)


def test_xml_with_nothing_readable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        read(tmp_path, "<valgrindoutput><<<")


def test_the_sanitizers_text_is_read_to_the_figure(tmp_path: Path) -> None:
    (report,) = read(tmp_path, SANITIZER)
    assert report.kinds["definite"] == Tally(10, 122_880)
    assert report.kinds["indirect"] == Tally()
    assert report.kinds["reachable"] is None
    assert [frame.shown() for frame in report.records[0].stack] == [
        "malloc (libasan.so.5)",
        "main (lsan.c:9)",
        "__libc_start_main (libc.so.6)",
    ]
    assert report.notes == []


def test_a_sanitizers_summary_that_does_not_add_up_is_told(tmp_path: Path) -> None:
    text = SANITIZER.replace("SUMMARY: AddressSanitizer: 122880", "SUMMARY: AddressSanitizer: 9")
    assert "add up to 122880" in read(tmp_path, text)[0].notes[0]


def test_kmemleaks_objects_of_one_backtrace_are_one_record(tmp_path: Path) -> None:
    (report,) = read(tmp_path, KMEMLEAK)
    assert [(r.blocks, r.bytes) for r in report.records] == [(2, 256), (1, 64)]
    assert [frame.shown() for frame in report.records[0].stack] == [
        "kmalloc_trace",
        "leak_init (leaky)",
        "do_one_initcall",
    ]
    assert report.records[0].content is not None
    assert "insmod (PID 1234)" in report.records[0].content
    assert "leaked name" in report.records[0].content
    assert report.kinds["definite"] == Tally(3, 320)


@pytest.mark.parametrize("text", ["", "hello\n", '{"a": 1}', '{"schema": "other"'])
def test_what_is_no_report_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=re.escape(str(tmp_path))) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_reports(tmp_path / "none")
