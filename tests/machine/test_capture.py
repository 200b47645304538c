"""Capturing a machine: from a tree of recorded texts, from this host, and from next to nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memtwin.errors import UserError
from memtwin.machine.capture import capture_machine
from memtwin.machine.config import config_from_case, config_from_text, load_machine

STARTS = Path(__file__).parent.parent / "data" / "starts"


def tree(root: Path, name: str, **replaced: str) -> Path:
    """The recorded texts of `name` as files below `root`."""
    recorded = json.loads((STARTS / f"{name}.json").read_text())
    texts = {**recorded["setup"], **recorded["start"]["files"]}
    texts["/proc/version"] = f"Linux version {recorded['kernel_release']} (gcc)\n"
    texts.update(replaced)
    for path, text in texts.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize("name", ["6.1", "6.12", "6.1-686"])
def test_a_captured_tree_describes_the_machine_it_came_from(tmp_path: Path, name: str) -> None:
    recorded = config_from_case(json.loads((STARTS / f"{name}.json").read_text()))
    captured = config_from_text(capture_machine(tree(tmp_path, name)), "captured")
    assert captured.memory == recorded.memory
    assert (captured.kernel, captured.arch, captured.layout) == (
        recorded.kernel,
        recorded.arch,
        recorded.layout,
    )
    assert (captured.thp, captured.lru_gen) == (recorded.thp, recorded.lru_gen)
    assert [(s.kind, s.size_bytes, s.priority) for s in captured.swap] == [
        (s.kind, s.size_bytes, s.priority) for s in recorded.swap
    ]
    # MemTotal is what the allocator was handed
    total_kib = int(recorded.start_texts["/proc/meminfo"].split()[1])
    assert captured.reserved_bytes == recorded.ram_bytes - total_kib * 1024


def test_what_cannot_be_read_is_absent_with_the_reason_and_never_zero(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal:        1000000 kB\n")
    text = capture_machine(tmp_path)
    assert "# cpus: absent, /proc/stat: No such file or directory; 1 is taken" in text
    assert '# "vm.swappiness": absent, /proc/sys/vm/swappiness: No such file or directory' in text
    assert "# [[swap]]: absent, /proc/swaps: No such file or directory" in text
    assert "# latency_us: absent, not measured" in text
    assert " = 0\n" not in text.replace("node = 0\n", "").replace("reserved = 0", "")
    config = config_from_text(text, "captured")
    assert config.notes == (
        "the kernel's version could not be read: 6.12 stands for it",
        "the memory map could not be read: a PC's map of the same size stands in",
    )


def test_hidden_addresses_fall_back_to_the_zones_and_say_so(tmp_path: Path) -> None:
    hidden = "00000000-00000000 : System RAM\n"
    text = capture_machine(tree(tmp_path, "6.12", **{"/proc/iomem": hidden}))
    assert "# [[memory]]: absent, /proc/iomem: its addresses are hidden without privilege" in text
    config = config_from_text(text, "captured")
    assert abs(config.ram_bytes - (3998 + 61402) * 4096) < 512 * 4096


def test_this_host_can_be_captured_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "here.toml"
    path.write_text(capture_machine("/"))
    total_kib = int(Path("/proc/meminfo").read_text().split()[1])
    config = load_machine(str(path))
    assert config.ram_bytes >= total_kib * 1024 * 9 // 10
    assert config.nr_cpus >= 1


def test_a_root_without_proc_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no /proc/meminfo: No such file"):
        capture_machine(tmp_path)
