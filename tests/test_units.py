"""Units, sizes, errors."""

import pytest

from memtwin import units
from memtwin.errors import InternalError, UserError, require


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("128M", 128 << 20),
        ("1.5G", 3 << 29),
        ("64KiB", 65536),
        ("2t", 2 << 40),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, size_bytes: int) -> None:
    assert units.parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "M", "-1", "12X", "1e9", "0x10"])
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match="limit: found"):
        units.parse_size(text, "limit")


def test_formatting_a_size_and_reading_it_back_gives_the_size_where_it_is_whole() -> None:
    for size_bytes in (1, 4096, 3 << 20, 5 << 30, 2 << 40):
        assert units.parse_size(units.format_size(size_bytes)) == size_bytes


def test_addresses_and_page_numbers_convert_both_ways() -> None:
    assert units.vaddr_to_vpn(units.vpn_to_vaddr(123456789)) == 123456789
    assert units.paddr_to_pfn(units.pfn_to_paddr(77) + 4095) == 77
    assert [units.bytes_to_pages(n) for n in (0, 1, 4096, 4097)] == [0, 1, 1, 2]


def test_require_names_the_function_and_the_violated_fact() -> None:
    with pytest.raises(InternalError, match=r"buddy\.verify: 3 != 4"):
        require(False, "buddy.verify", "3 != 4")
    require(True, "buddy.verify", "never read")
