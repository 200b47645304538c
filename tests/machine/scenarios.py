"""Small scenarios that reach every room, and what a scenario leaves behind.

Run as a program, `scenarios.py NAME..` prints a JSON line for each command: its text and the
digests of all state after it. tests/test_modes.py runs it once interpreted and once compiled.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import memtwin
from memtwin.columns import Digest, array
from memtwin.machine.config import config_from_text
from memtwin.machine.machine import Machine
from memtwin.page_cache.constants import BLOCK_DEVICE
from memtwin.units import PAGE_SIZE
from memtwin.workload.checkpoint import machine_files
from memtwin.workload.language import parse_script
from memtwin.workload.runner import Runner

_DISK = "[block]\nlatency_us = 100\nread_mb_s = 200\nwrite_mb_s = 100\n"
_FILES = '[[file]]\npath = "/data/a"\nsize = "12M"\n[[file]]\npath = "/data/b"\nsize = "40M"\n'


def description(
    kernel: str,
    ram: str = "64M",
    swap: str = "",
    limit: str = "",
    cpus: int = 1,
    thp: str = "never",
) -> str:
    """The TOML of a small machine; `swap` is "disk:SIZE" or "zram:SIZE"."""
    text = f'kernel = "{kernel}"\nram = "{ram}"\nthp = "{thp}"\ncpus = {cpus}\ncontent = "half"\n'
    text += _DISK + _FILES
    if limit:
        text += f'[limit]\nmemory = "{limit}"\n'
    if swap:
        kind, size = swap.split(":")
        text += f'[[swap]]\nkind = "{kind}"\nsize = "{size}"\n'
    return text


@dataclass(frozen=True)
class Scenario:
    """A machine (TOML) and a script for it."""

    machine: str
    script: str


SCENARIOS = {
    "anonymous": Scenario(
        description("6.1"),
        """start p
        @p mmap a anon 8M
        @p touch a r seq 0 512
        @p touch a w seq 0 1500
        @p touch a w rand 7 800
        @p madvise a dontneed 100 900
        @p touch a r seq 0 1500
        @p mmap b anon 2M populate
        @p mlock b
        @p munlock b
        @p munmap a
        @p munmap b
        @p exit""",
    ),
    "fork": Scenario(
        description("6.12"),
        """start p
        @p mmap a anon 4M
        @p touch a w seq 0 1000
        @p fork c
        @c touch a w seq 0 500
        @p touch a w seq 300 600
        @c fork d
        @d touch a r seq 0 1000
        @d touch a w seq 900 100
        @c exit
        @p touch a w seq 0 1000
        kill d
        @p munmap a
        @p exit""",
    ),
    "files": Scenario(
        description("6.1"),
        """start p
        @p open f /data/a
        @p read f 0 6M 64K
        @p read f 0 6M 4K
        @p readrand f 3 200 4096 3072
        @p write f 1M 2M 64K
        @p fsync f
        @p mmapfile m /data/b shared
        @p touch m r seq 0 700
        @p touch m w seq 100 300
        @p mmapfile n /data/b private
        @p touch n w seq 50 100
        sleep 6000
        @p munmap m
        @p munmap n
        @p fadvise f dontneed
        @p truncate f 1M
        @p close f
        @p open g /data/new create
        @p write g 0 3M 16K
        sync
        @p close g
        @p mkfiles /data/many 40 4096
        @p statfiles /data/many 40
        @p rmfiles /data/many 40
        @p exit
        dropcaches 3""",
    ),
    "file_reclaim": Scenario(
        description("6.1", "48M"),
        """start p
        @p open f /data/b
        @p read f 0 40M 64K
        @p mmap a anon 12M
        @p touch a w seq 0 3000
        @p read f 0 40M 64K
        @p touch a r seq 0 3000
        @p write f 0 16M 64K
        sleep 2000
        @p close f
        @p exit
        dropcaches 3""",
    ),
    "file_reclaim_multigen": Scenario(
        description("6.12", "48M"),
        """start p
        @p open f /data/b
        @p read f 0 40M 64K
        @p mmap a anon 12M
        @p touch a w seq 0 3000
        @p read f 0 40M 64K
        @p touch a r seq 0 3000
        @p close f
        @p exit
        dropcaches 3""",
    ),
    "swap_disk": Scenario(
        description("6.1", "48M", "disk:64M"),
        """start p
        @p mmap a anon 56M
        @p touch a w seq 0 14000
        @p touch a r seq 0 4000
        @p touch a w rand 5 2000
        @p fork c
        @c touch a w seq 2000 500
        @c exit
        sleep 1000
        @p munmap a
        @p exit""",
    ),
    "swap_zram": Scenario(
        description("6.12", "48M", "zram:48M"),
        """start p
        @p mmap a anon 52M
        @p fill a zero 1 0 500
        @p fill a half 1 500 2000
        @p touch a w seq 2500 10500
        @p touch a r seq 0 4000
        @p madvise a dontneed 1000 3000
        @p touch a w rand 5 2000
        @p exit""",
    ),
    "memcg": Scenario(
        description("6.1", "64M", "zram:32M", "6M"),
        """start p
        @p mmap a anon 12M
        @p touch a w seq 0 3000
        @p touch a r seq 0 3000
        @p open f /data/a
        @p read f 0 12M 64K
        @p touch a w rand 2 1000
        @p close f
        @p exit""",
    ),
    "memcg_oom": Scenario(
        description("6.12", "64M", "", "5M"),
        """start p
        @p mmap a anon 12M
        start q
        @q mmap b anon 1M
        @q touch b w seq 0 256
        @p touch a w seq 0 3000
        @q touch b r seq 0 256
        @q exit""",
    ),
    "oom": Scenario(
        description("6.1", "32M"),
        """start p
        @p mmap a anon 20M
        start q
        @q mmap b anon 30M
        @p touch a w seq 0 2500
        @q touch b w seq 0 7000
        @p touch a r seq 0 2500
        @p exit""",
    ),
    "shared": Scenario(
        description("6.1", "48M", "disk:32M"),
        """start p
        @p mmap s shm 8M
        @p touch s w seq 0 2000
        @p fork c
        @c touch s r seq 0 2000
        @p mmap a anon 40M
        @p touch a w seq 0 9000
        @c touch s w seq 0 1500
        @c exit
        @p munmap s
        @p exit""",
    ),
    "huge_pages": Scenario(
        description("6.12", "96M", "", "", 1, "always"),
        """start p
        @p mmap a anon 16M
        @p touch a w seq 0 3000
        @p fork c
        @c touch a w seq 0 700
        @p madvise a dontneed 600 100
        @c exit
        @p munmap a
        @p exit""",
    ),
    "c_library_heap": Scenario(
        description("6.1"),
        """start p
        repeat 40
        @p malloc lost 12K
        @p malloc back 1000
        @p free back
        end
        @p malloc list 32
        @p calloc list[8] 200K
        @p memalign list[8][0] 64 48
        @p store inside list[8]+16
        @p fork c
        @p store list NULL
        @p leakcheck parent
        @c realloc lost 3M
        @c free list[8][0]
        @c leakcheck child
        @c exit
        @p exit""",
    ),
    "kernel_code": Scenario(
        description("6.12"),
        """insmod m
        start p
        @p kmem_cache_create packet 200
        @p vmalloc m.ring 300K
        repeat 30
        @p kmem_cache_alloc m.a packet
        @p kwrite m.a[8] packet
        @p kmalloc m.a[0] 700
        @p kmalloc m.b 20K
        @p kfree m.b
        end
        sleep 6000
        echo scan /sys/kernel/debug/kmemleak
        echo scan /sys/kernel/debug/kmemleak
        @p kfree m.a[0]
        @p kfree m.a
        rmmod m
        sleep 60000
        @p exit""",
    ),
    "side_by_side": Scenario(
        description("6.12", "64M", "zram:32M", "", 2),
        """start p
        start q
        @p mmap a anon 24M
        @q open f /data/b
        bg @p touch a w seq 0 6000
        bg @q read f 0 30M 64K
        sleep 20
        join p
        join q
        bg @p touch a r rand 9 5000
        bg @q write f 0 4M 64K
        join q
        join p
        sleep 7000
        @q exit
        @p exit""",
    ),
}


def machine_of(name: str) -> Machine:
    """The scenario's machine, booted."""
    return Machine(config_from_text(SCENARIOS[name].machine, name))


def runner_of(machine: Machine) -> Runner:
    """What runs a scenario's commands on `machine`."""
    return Runner(machine, machine_files)


def digests(machine: Machine) -> dict[str, str]:
    """Room -> digest of its state."""
    found = {}
    for name, owner in machine.kernel.parts():
        digest = Digest()
        digest.add_all(name, owner.columns())
        found[name] = digest.hexdigest()
    digest = Digest()
    digest.add_all("accounts", accounts(machine))
    found["accounts"] = digest.hexdigest()
    return found


def accounts(machine: Machine) -> list[tuple[str, int]]:
    """(PID and name, figure) of what every task spent until now, and of the machine's pressure."""
    found = []
    for task in machine.kernel.tasks.all:
        times = machine.accounts.times_of(task)
        found += [(f"{task.pid}.{name}", getattr(times, name)) for name in times.__slots__]
    for resource in ("cpu", "io", "memory"):
        text = machine.pressures.text(0, resource)
        for line in (text.some, text.full):
            assert line is not None
            found.append((resource, line.total_us))
    return found


def held(machine: Machine) -> dict[str, int]:
    """What processes can hold: must be the same before a scenario and after it.

    Blocks of file system metadata are left out: a journal may keep them for longer. So are slots of
    swap that wait in a CPU's cache.
    """
    kernel, figures = machine.kernel, machine.figures()
    kernel.lru.lru_add_drain_all()
    kernel.charge.drain_all_stock(0)
    kept = (
        "nr_anon_pages", "nr_mapped", "nr_shmem", "nr_page_table_pages", "nr_mlock", "nr_dirty",
        "nr_writeback", "nr_zone_unevictable", "nr_swapcached", "nr_kernel_stack",
    )  # fmt: skip
    found = {name: figures[name] for name in kept if name in figures}
    metadata = charged_metadata = 0
    for mapping in kernel.page_cache.live_mappings():
        if mapping.kind == BLOCK_DEVICE:
            frames = [slot - 1 for slot in mapping.slots[: mapping.nr_slots] if slot > 0]
            metadata += len(frames)
            charged_metadata += sum(kernel.mem.memcg[pfn] > 0 for pfn in frames)
    found["file_pages"] = figures["nr_file_pages"] - metadata
    swap = kernel.swap
    waiting = int(array(swap.slots_left).sum() + array(swap.nr_returned).sum())
    found["swap_slots"] = int(swap.total_swap_pages - swap.nr_swap_pages) - waiting
    objects_bytes = kernel.file_rooms.objects.charged_bytes()  # those of the metadata's pages
    objects_bytes += int(array(kernel.charge.obj_bytes).sum() + array(kernel.charge.obj_left).sum())
    assert objects_bytes % PAGE_SIZE == 0, "objects and what they left over are whole pages"
    charged_metadata += objects_bytes // PAGE_SIZE
    found["charged_pages"] = int(array(kernel.memcgs.usage)[1:].sum()) - charged_metadata
    return found


def main() -> None:
    """Print a line for each command of each scenario that the command line names."""
    print(json.dumps({"compiled": memtwin.compiled()}))
    for name in sys.argv[1:]:
        machine = machine_of(name)
        runner = runner_of(machine)
        print(json.dumps({"command": "boot", "digests": digests(machine)}))
        for command in parse_script(SCENARIOS[name].script.splitlines()):
            runner.run_one(command)
            line = {"command": f"{name}: {command.text()}", "digests": digests(machine)}
            print(json.dumps(line))
        figures = machine.figures()
        checks = [str(one) for one in runner.leak_checks]
        end = {"dmesg": machine.kernel.dmesg, "leak checks": checks, **figures}
        print(json.dumps({"command": f"{name}: end", "digests": end}))


if __name__ == "__main__":
    main()
