"""Walks of page tables: what they are predicted to cost, and which of them a share affords."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from memtwin.observe.processes.budgeted_looks import BudgetedLooks
from memtwin.observe.processes.looks import ProcessLooks
from memtwin.observe.processes.scan import Part, ProcessScan
from memtwin.observe.processes.walk_budget import (
    COUNTED_FROM_PAGES,
    NS_PER_AREA,
    NS_PER_PAGE,
    SAVED_S,
    USUAL_AREAS,
    WALK_NS,
    WalkBudget,
    Wish,
)
from memtwin.observe.source import TreeSource

SHARE = 0.01
PER_S_NS = SHARE * 1e9


def spend(budget: WalkBudget, wishes: list[Wish], costs_ns: dict[str, int]) -> list[str]:
    """Walk what is handed out at the costs named; the keys, in order."""
    walked = []
    for wish in budget.affordable(wishes):
        assert isinstance(wish.key, str)
        budget.paid(wish, costs_ns[wish.key])
        walked.append(wish.key)
    return walked


def test_a_process_not_walked_yet_is_predicted_by_its_size_and_mappings() -> None:
    asked = []

    def areas(key: object) -> int:
        asked.append(key)
        return 5000

    budget = WalkBudget(SHARE, areas)
    small = budget.predicted_ns("small", COUNTED_FROM_PAGES - 1)
    assert small == WALK_NS + NS_PER_AREA * USUAL_AREAS + NS_PER_PAGE * (COUNTED_FROM_PAGES - 1)
    assert asked == []
    large = budget.predicted_ns("large", 100_000)
    assert large == WALK_NS + NS_PER_AREA * 5000 + NS_PER_PAGE * 100_000
    assert budget.predicted_ns("large", 100_000) == large
    assert asked == ["large"]  # counted once, however long it waits for its walk


def test_mappings_are_not_counted_of_a_process_whose_size_alone_is_too_dear() -> None:
    asked = []

    def areas(key: object) -> int:
        asked.append(key)
        return 20_000

    budget = WalkBudget(SHARE, areas)
    large = Wish("large", 1, 1.0, 20_000)  # 3 ms by its size, 2 ms more by its mappings
    assert spend(budget, [large], {}) == []
    budget.earn(0.2)
    assert spend(budget, [large], {}) == []
    assert asked == []
    budget.earn(0.22)
    assert spend(budget, [large], {}) == []
    assert asked == ["large"]
    budget.earn(0.2)
    assert spend(budget, [large], {"large": 4_000_000}) == ["large"]


def test_mappings_that_cannot_be_counted_are_taken_for_the_usual_number() -> None:
    def gone(key: object) -> int:
        raise FileNotFoundError

    budget = WalkBudget(SHARE, gone)
    usual = WALK_NS + NS_PER_AREA * USUAL_AREAS + NS_PER_PAGE * 50_000
    assert budget.predicted_ns("x", 50_000) == usual


def test_what_counting_mappings_cost_is_paid_too() -> None:
    ticks = iter([0, 3_000_000])
    budget = WalkBudget(SHARE, lambda key: 10, lambda: next(ticks))
    dear = Wish("dear", 1, 1.0, 1000)
    budget.paid(dear, 8_000_000)
    budget.earn(1.8)  # 10 ms are left
    budget.predicted_ns("large", 100_000)
    assert spend(budget, [dear], {"dear": 8_000_000}) == []  # 7 ms are left
    budget.earn(0.11)
    assert spend(budget, [dear], {"dear": 8_000_000}) == ["dear"]


def test_a_process_walked_before_is_predicted_by_what_that_cost() -> None:
    budget = WalkBudget(SHARE)
    budget.earn(10)
    assert spend(budget, [Wish("x", 1, 1.0, 1000)], {"x": 77_000}) == ["x"]
    assert budget.predicted_ns("x", 1000) == 77_000
    assert budget.predicted_ns("x", 1100) == 77_000 + 100 * NS_PER_PAGE
    assert budget.predicted_ns("x", 0) == WALK_NS
    budget.forget("x")
    assert budget.predicted_ns("x", 1000) != 77_000


def test_the_most_pages_in_doubt_are_walked_first_and_a_small_one_fits_behind_a_large() -> None:
    budget = WalkBudget(SHARE)
    budget.earn(0.1)  # 1 ms
    wishes = [
        Wish("little news", 10, 1.0, 100),
        Wish("too dear now", 10_000, 1.0, 10_000),
        Wish("old news", 10, 60.0, 100),
        Wish("much news", 1000, 1.0, 100),
    ]
    costs = {wish.key: 30_000 for wish in wishes if isinstance(wish.key, str)}
    assert spend(budget, wishes, costs) == ["much news", "old news", "little news"]


def test_a_large_walk_has_its_turn_however_many_small_ones_there_are() -> None:
    budget = WalkBudget(SHARE)
    small = {f"s{number}": 200_000 for number in range(100)}  # 20 ms each s, of 10 earned
    costs = {**small, "large": 100_000_000}
    turns = []
    for second in range(300):
        budget.earn(1.0)
        wishes = [Wish(name, 100, 1.0, 1000) for name in small]
        wishes.append(Wish("large", 500_000, 1.0, 600_000))
        if "large" in spend(budget, wishes, costs):
            turns.append(second)
    # alone it would have its turn each 10 s; half of what is earned is set aside for it
    assert len(turns) >= 12, turns
    assert max(b - a for a, b in zip([0, *turns], turns, strict=False)) <= 25, turns


def test_a_walk_that_no_saving_affords_is_never_made_and_named() -> None:
    budget = WalkBudget(SHARE)
    pages = int(SAVED_S * PER_S_NS / NS_PER_PAGE) + 1
    for _ in range(200):
        budget.earn(10.0)
        assert spend(budget, [Wish("huge", pages, 1e6, pages)], {"huge": 1}) == []
        assert budget.too_costly["huge"] > SAVED_S * PER_S_NS
    assert spend(budget, [], {}) == []
    assert budget.too_costly == {}


def test_what_is_set_aside_for_a_process_that_ends_goes_back() -> None:
    budget = WalkBudget(SHARE)
    large, other = Wish("large", 300_000, 1.0, 300_000), Wish("other", 30_000, 1.0, 30_000)
    for _ in range(3):
        budget.earn(1.0)
        assert spend(budget, [large], {}) == []
    costs = {"other": 5_000_000}
    budget.earn(0.0)
    assert spend(budget, [other], costs) == ["other"]  # 4.5 ms, of 30 earned in three seconds
    assert spend(budget, [other._replace(key="another")], {"another": 1}) == ["another"]


@pytest.mark.parametrize("seed", range(20))
def test_all_walks_together_stay_within_the_share_whatever_moves(seed: int) -> None:
    rng = random.Random(seed)
    budget = WalkBudget(SHARE)
    spent_ns = elapsed_s = 0.0
    worst_ns = 0  # a walk may cost more than predicted; it is paid for before the next
    alive = {f"p{number}": rng.randrange(1, 200_000) for number in range(60)}
    for _ in range(400):
        step_s = rng.choice([0.1, 1.0, 7.0])
        elapsed_s += step_s
        budget.earn(step_s)
        if rng.random() < 0.3:
            alive.pop(rng.choice(list(alive)))
            alive[f"q{rng.random()}"] = rng.randrange(1, 200_000)
        budget.keep_only(alive.keys())
        wishes = [
            Wish(key, rng.randrange(1, 5000), rng.random() * 50, pages)
            for key, pages in alive.items()
            if rng.random() < 0.5
        ]
        for wish in budget.affordable(wishes):
            cost_ns = int(wish.rss_pages * rng.choice([20, 100, 400])) + 5000
            spent_ns += cost_ns
            worst_ns = max(worst_ns, cost_ns)
            budget.paid(wish, cost_ns)
        assert spent_ns <= elapsed_s * PER_S_NS + worst_ns
    assert spent_ns > 0.5 * elapsed_s * PER_S_NS  # and it is used


@pytest.fixture(scope="module")
def sleepers() -> Iterator[list[str]]:
    """Pids of processes of our own, at rest."""
    words = [sys.executable, "-S", "-c", "print(1, flush=True); input()"]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(words, stdin=pipe, stdout=pipe) for _ in range(8)]
    for one in started:
        assert one.stdout is not None
        one.stdout.readline()
    yield [str(one.pid) for one in started]
    for one in started:
        one.kill()
        one.communicate()


def test_what_watch_reads_of_real_processes_is_paid_from_the_budget(sleepers: list[str]) -> None:
    looks = ProcessLooks(TreeSource("/"), share=1e-9)
    texts: dict[str, bytes] = {}
    looks.look(texts, [])
    assert all(f"/proc/{pid}/statm" in texts for pid in sleepers)
    assert not any(path.endswith("smaps_rollup") for path in texts)
    looks.budget = WalkBudget(share=1.0)
    looks.budget.earn(5.0)
    texts.clear()
    looks.look(texts, [])
    assert all(f"/proc/{pid}/smaps_rollup" in texts for pid in sleepers)
    texts.clear()
    looks.look(texts, [])
    assert not any(f"/proc/{pid}/smaps_rollup" in texts for pid in sleepers)  # nothing moved
    looks.close()


def test_what_was_learned_of_walks_outlives_a_journal(sleepers: list[str]) -> None:
    looks = ProcessLooks(TreeSource("/"), share=1.0)
    looks.budget.earn(5.0)
    looks.look({}, [])
    known = {pid: looks.budget.predicted_ns(pid, looks.known[pid].rss) for pid in sleepers}
    rss = {pid: looks.known[pid].rss for pid in sleepers}
    looks.forget_texts()
    assert known == {pid: looks.budget.predicted_ns(pid, rss[pid]) for pid in sleepers}
    guess = WALK_NS + NS_PER_AREA * USUAL_AREAS
    assert any(known[pid] != guess + NS_PER_PAGE * rss[pid] for pid in sleepers)
    looks.close()


def test_ps_pays_its_walks_from_the_same_kind_of_budget(sleepers: list[str]) -> None:
    scan = ProcessScan(TreeSource("/"), Part.STAT)
    scan.pids = lambda: [int(pid) for pid in sleepers]  # type: ignore[method-assign]
    looks = BudgetedLooks(scan, share=1.0)
    began_s = time.monotonic()
    looks.look(began_s, 1.0)
    assert looks.spent.walked == len(sleepers)
    assert looks.spent.cost_ns > 0
    looks.look(began_s + 1.0, 1.0)
    assert looks.spent.walked == 0
    assert looks.spent.carried == len(sleepers)
    poor = BudgetedLooks(scan, share=1e-9)
    assert os.getpid() not in [one.pid for one in poor.look(began_s, 1.0)]
    assert poor.spent.walked == 0
    assert poor.spent.too_costly == len(sleepers)


def test_no_more_is_saved_than_the_earnings_of_the_time_that_is_kept() -> None:
    budget = WalkBudget(SHARE)
    budget.earn(100 * SAVED_S)
    budget.charge(int(SAVED_S * PER_S_NS) - 1)
    assert not budget.is_spent
    budget.charge(1)
    assert budget.is_spent
