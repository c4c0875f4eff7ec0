"""Many labelers at once: no pick is lost, none is doubled."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from labeling.batches import add_pairs
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store
from tests.labeling.conftest import Rows

THREADS, PICKS = 8, 50


def test_eight_threads_of_fifty_picks(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, rows(PICKS), "b")

    def work(number: int) -> list[str]:
        rng, made = random.Random(number), []
        while task := next_pair(fresh_store, f"labeler {number}", rng):
            made.append(submit(fresh_store, task.assignment_id, "left").uuid)
        return made

    with ThreadPoolExecutor(THREADS) as pool:
        acknowledged = [uuid for made in pool.map(work, range(THREADS)) for uuid in made]
    with fresh_store.reading() as db:
        stored = [r["uuid"] for r in db.query("SELECT uuid FROM current_picks")]
        most = next(
            db.query(
                "SELECT max(n) AS n FROM (SELECT count(*) AS n FROM preferences"
                " GROUP BY pair_id, labeler_id)"
            )
        )["n"]
    assert len(acknowledged) == THREADS * PICKS
    assert sorted(stored) == sorted(acknowledged)
    assert most == 1


def test_one_labeler_in_many_tabs_gets_one_assignment_per_pair(
    fresh_store: Store, rows: Rows
) -> None:
    add_pairs(fresh_store, rows(3), "b")
    with ThreadPoolExecutor(THREADS) as pool:
        tasks = list(pool.map(lambda _: next_pair(fresh_store, "ann", random.Random(0)), range(16)))
        assert len({task.assignment_id for task in tasks if task}) == 1
        picks = list(pool.map(lambda task: submit(fresh_store, task.assignment_id, "tie"), tasks))
    assert len({pick.uuid for pick in picks}) == 1
