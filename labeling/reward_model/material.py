"""Which picks a reward model learns from, on which it is measured, and whether they are enough."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from detox.config import RewardConfig
from detox.errors import UserError
from labeling.export import Filters, plan_export, select, snapshot_hash
from labeling.export.aggregation import preference, verdicts
from labeling.export.filters import adjudicated, public
from labeling.formats import MARGINS, decided
from labeling.store import Store

MIN_PICKS, MIN_DIALOGUES = 20, 5
ADVISED_PICKS = 50
# Pairs that two people should both judge before their agreement says much: ±10 points and more.
ADVISED_OVERLAP = 96
PEOPLE = Filters(labeler_kind="person")
KEPT = "picks.json"
DECIDED, EVEN = ("left", "right"), ("tie", "both_bad")

Row = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What the picks that match the filters come to.

    ``rows`` are pairs as ``detox.reward_model`` reads them, each with its ``dialogue``, ``pair``
    and ``labeler`` (None where votes were joined); ``ties`` of them are soft labels. ``votes``
    are the single decided picks in the same form. ``left_out`` counts what was dropped, by reason.
    """

    rows: tuple[Row, ...]
    votes: tuple[Row, ...]
    ties: int
    left_out: dict[str, int]
    snapshot: str
    filters: dict[str, Any]
    labelers: int

    @property
    def decided(self) -> int:
        """How many rows prefer a response."""
        return len(self.rows) - self.ties

    @property
    def dialogues(self) -> set[str]:
        """The dialogues of the rows that prefer a response."""
        return {row["dialogue"] for row in self.rows if row["target"] == 1}


def gather(store: Store, filters: Filters = PEOPLE, ties: str = "drop") -> Material:
    """The regular picks of ``store`` that match ``filters``, as material for a reward model.

    A row a pick, its margin from the pick's strength (``formats.MARGINS``); where ``filters`` join
    votes, a row a pair, its margin from the votes (``export.aggregation.vote_margin``). With
    ``ties`` "soft" a tie, or both bad, is a row without a preference; else it is left out.

    Raises ``UserError`` for an unknown batch or labeler, ``StoreError`` by the database.
    """
    filters = _of_votes(filters)
    wanted = DECIDED + (EVEN if ties == "soft" else ())
    with store.reading() as db:
        picks = select(db, filters)
        joined = filters.aggregation != "every"
        found, left_out = _joined(db, picks, filters) if joined else (picks, Counter[str]())
        used = [pick for pick in found if pick["choice"] in wanted]
        left_out.update(pick["choice"] for pick in found if pick["choice"] not in wanted)
        # what joins votes rests on all of them, and on what leads decided
        snapshot = (
            plan_export(db, "trl-explicit", filters).snapshot if joined else snapshot_hash(used)
        )
        told = _told(db, filters)
    votes = [_row(pick) for pick in picks if decided(pick)]
    return Material(
        rows=tuple(_row(pick) if decided(pick) else _tie(pick) for pick in used),
        votes=tuple(votes),
        ties=sum(not decided(pick) for pick in used),
        left_out={name: left_out[name] for name in sorted(left_out) if left_out[name]},
        snapshot=snapshot,
        filters=told,
        labelers=len({vote["labeler"] for vote in votes}),
    )


def told_filters(store: Store, filters: Filters) -> dict[str, Any]:
    """``filters`` as a file tells them, labelers by their pseudonyms; raises as ``gather``."""
    with store.reading() as db:
        return _told(db, _of_votes(filters))


def _of_votes(filters: Filters) -> Filters:
    return replace(filters, kinds=("regular",), margin=True)


def _told(db: Database, filters: Filters) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps(public(db, filters)))
    return told


def _joined(db: Database, picks: Sequence[Row], filters: Filters) -> tuple[list[Row], Counter[str]]:
    """A preference for each pair that comes to something, and how many pairs do not."""
    about = {pick["pair_id"] for pick in picks}
    given = adjudicated(db) if filters.aggregation == "adjudicated" else {}
    found, left_out = verdicts(
        picks, {pair: outcome for pair, outcome in given.items() if pair in about}
    )
    return [preference(db, pair, verdict) for pair, verdict in found.items()], left_out


def _row(pick: Mapping[str, Any]) -> Row:
    margin = pick["margin"] if "margin" in pick else MARGINS[pick["strength"]]
    return _pair(pick, pick["chosen"], pick["rejected"], margin, 1.0)


def _tie(pick: Mapping[str, Any]) -> Row:
    return _pair(pick, pick["left_text"], pick["right_text"], 0.0, 0.5)


def _pair(pick: Mapping[str, Any], first: str, second: str, margin: float, target: float) -> Row:
    return {
        "prompt": pick["prompt"],
        "chosen": first,
        "rejected": second,
        "margin": margin,
        "target": target,
        "dialogue": pick["dialogue_id"],
        "pair": pick["pair_id"],
        "labeler": pick.get("labeler"),
    }


def keep(material: Material, folder: Path) -> None:
    """Puts what a run learns from beside it: a resumed run reads that, whatever came since.

    Raises ``UserError`` when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / KEPT).write_text(json.dumps(asdict(material)), encoding="utf-8")
    except OSError as error:
        raise UserError(f"The run cannot be kept in {folder}: {error.strerror}.") from error


def kept(folder: Path, told: Mapping[str, Any]) -> Material | None:
    """What the run in ``folder`` began with; None where it was not kept.

    Raises ``UserError`` when that was by other filters than those ``told``.
    """
    try:
        found = json.loads((folder / KEPT).read_text(encoding="utf-8"))
        lists = {name: tuple(found[name]) for name in ("rows", "votes")}
        material = Material(**(found | lists))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if changed := [name for name in told if material.filters.get(name) != told[name]]:
        raise UserError(
            f"The run in {folder} was started with other picks ({', '.join(changed)}): resume it "
            "with those, or start anew."
        )
    return material


def refuse_too_few(material: Material) -> None:
    """``UserError`` where nothing could be learned: too few decided picks, or dialogues."""
    dialogues = len(material.dialogues)
    if material.decided < MIN_PICKS or dialogues < MIN_DIALOGUES:
        what = "picks" if material.filters["aggregation"] == "every" else "pairs"
        raise UserError(
            f"There are {material.decided} decided {what} on {dialogues} dialogues; a reward model "
            f"needs at least {MIN_PICKS} on {MIN_DIALOGUES}: label more pairs first."
        )


def doubts(material: Material) -> list[str]:
    """Sentences on what the picks cannot support, with the number that could."""
    said = []
    if material.decided < ADVISED_PICKS:
        said.append(
            f"Only {material.decided} picks: expect a weak model, {ADVISED_PICKS} or more are "
            f"advised. Label {ADVISED_PICKS - material.decided} more."
        )
    if material.labelers < 2:
        said.append(
            "All picks are by one labeler: the model learns the taste of one person, and nothing "
            f"tells how noisy it is. Let a second one judge about {ADVISED_OVERLAP} of the same "
            "pairs."
        )
    else:
        judges = Counter(pair for pair, _ in {(v["pair"], v["labeler"]) for v in material.votes})
        shared = sum(count > 1 for count in judges.values())
        if shared < ADVISED_OVERLAP:
            said.append(
                f"Pairs that two people judged: {shared}. That tells little of how far a model can "
                f"get: {ADVISED_OVERLAP} are advised, {ADVISED_OVERLAP - shared} more."
            )
    return said


def parts(material: Material, config: RewardConfig) -> dict[str, list[Row]]:
    """The rows by ``train``, ``validation`` and ``held_out``; dialogues are dealt, never picks.

    Raises ``UserError`` when nothing is left to learn from.
    """
    # the model libraries take seconds to import; the rest of the package does without them
    from detox.reward_model import part_of

    found: dict[str, list[Row]] = {"train": [], "validation": [], "held_out": []}
    for row in material.rows:
        place = part_of(row["dialogue"], config.held_out, config.validation, config.seed)
        found[place].append(row)
    if not any(row["target"] == 1 for row in found["train"]):
        raise UserError("held_out leaves no dialogue to learn from: lower it or label more.")
    return found
