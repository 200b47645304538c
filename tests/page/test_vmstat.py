"""Counters: rows, sums and names."""

from memtwin.page import vmstat_items
from memtwin.page.vmstat import VmStat


def test_every_counter_has_one_name_and_its_constant_is_its_row() -> None:
    for names in (vmstat_items.ZONE_ITEMS, vmstat_items.NODE_ITEMS, vmstat_items.VM_EVENTS):
        assert len(set(names)) == len(names)
        for row, name in enumerate(names):
            assert getattr(vmstat_items, name.upper()) == row


def test_global_figures_are_sums_over_zones_and_nodes() -> None:
    stat = VmStat(nr_zones=3, nr_nodes=2)
    for zone_id in range(3):
        row = zone_id * vmstat_items.NR_ZONE_ITEMS + vmstat_items.NR_FREE_PAGES
        stat.zone_stat[row] = 10**zone_id
    stat.node_stat[vmstat_items.NR_NODE_ITEMS + vmstat_items.NR_SHMEM] = 7
    stat.event[vmstat_items.PGFAULT] = 5
    named = stat.by_name()
    assert (named["nr_free_pages"], named["nr_shmem"], named["pgfault"]) == (111, 7, 5)
