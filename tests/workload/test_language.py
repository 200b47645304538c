"""The grammar: what it takes, and how it refuses."""

import pytest

from memtwin.errors import UserError
from memtwin.workload.language import Wait, parse_script


def test_a_background_command_names_its_process_and_is_not_waited_for() -> None:
    [_, command] = parse_script(["start P", "bg @P touch A w seq 0 10"])
    assert (command.process, command.verb, command.wait) == ("P", "touch", Wait.BACKGROUND)


def test_a_forked_process_may_be_named_afterwards() -> None:
    commands = parse_script(["start P", "@P fork Q", "@Q munmap A", "kill Q"])
    assert [c.text() for c in commands][-1] == "kill Q"


@pytest.mark.parametrize(
    ("lines", "needle"),
    [
        (["frobnicate"], "frobnicate"),
        (["start P", "@P dance"], "dance"),
        (["@P munmap A"], "started so far: none"),
        (["start P", "@P mmap A heap 3M"], "anon|shm"),
        (["start P", "@P mmap A"], "mmap A anon|shm SIZE"),
        (["dropcaches 4"], "1|2|3"),
        (["bg start P"], "after bg"),
        (["start P", "@P"], "nothing"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number_and_the_form(
    lines: list[str], needle: str
) -> None:
    with pytest.raises(UserError) as error:
        parse_script(lines)
    assert f"line {len(lines)}" in str(error.value)
    assert needle in str(error.value)
