"""A batch from scratch: any dialogues × any policies, answered beforehand and put into pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from detox.config import Sampling
from detox.errors import UserError
from detox.tasks import SUMMARIZE
from labeling.batches import load_pairs
from labeling.plans import Plan, write_plan
from labeling.store import Store
from labeling.text import clean_text, content_id, storable

if TYPE_CHECKING:
    from datasets import Dataset

    from detox.workbench import Workbench

# Which policies meet: all of them, or the first with each of the others.
MEETINGS = ("all", "first")


@dataclass(frozen=True)
class Generated:
    """How far a generation is; what it counts is in the database already."""

    done: int
    """Dialogues answered, those that had been answered before included."""
    total: int
    pairs: int
    """Pairs added by this generation."""
    identical: int
    """Pairs left out because both texts are the same to a reader."""
    known: int
    """Pairs that were in the project already."""


def generate_batch(
    store: Store,
    plan: Plan,
    bench: Workbench,
    names: Sequence[str],
    dialogues: Dataset,
    sampling: Sampling,
    *,
    meetings: str = "all",
) -> Iterator[Generated]:
    """Answers ``dialogues`` with the policies ``names`` and adds the pairs, a few at a time.

    Yields how far it is. Labelers may begin with what is there. Cut short and called again, it
    goes on with the dialogues that have no pair in the batch by these versions of the policies.

    Raises ``UserError`` for fewer than two policies, unknown ones, and no dialogue.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError("A pair needs two different policies: name two or more, each once.")
    if meetings not in MEETINGS:
        raise UserError(f"Unknown choice of meetings '{meetings}': all, or first.")
    if len(dialogues) == 0:
        raise UserError("There is no dialogue to answer: choose others, or a larger number.")
    bench.check_names(names)
    bench.wait()
    versions = {name: bench.policies[name].fingerprint for name in names}
    with store.writing() as db:
        write_plan(db, plan)
    met = [(names[0], other) for other in names[1:]]
    if meetings == "all":
        met = list(combinations(names, 2))
    answered = _answered(store, plan.name, versions)
    left = [i for i, row in enumerate(dialogues) if _prompt_id(row) not in answered]
    state = Generated(len(dialogues) - len(left), len(dialogues), 0, 0, 0)
    yield state
    for part, responses in bench.respond(names, dialogues.select(left), sampling):
        rows = [
            _row(item, responses[one][place], responses[two][place], sampling)
            for place, item in enumerate(part)
            for one, two in met
        ]
        report = load_pairs(store, rows, plan.name)
        state = Generated(
            state.done + len(part),
            state.total,
            state.pairs + report.added,
            state.identical + report.identical,
            state.known + report.known,
        )
        yield state


def _answered(store: Store, batch: str, versions: Mapping[str, str]) -> set[str]:
    """Prompts that have a pair in the batch whose two sides are both of these versions."""
    with store.reading() as db:
        rows = db.query(
            """
            SELECT p.prompt_id, a.name AS name_a, a.fingerprint AS version_a,
                b.name AS name_b, b.fingerprint AS version_b
            FROM pairs AS p
            JOIN candidates AS ca ON ca.id = p.candidate_a JOIN policies AS a ON a.id = ca.policy_id
            JOIN candidates AS cb ON cb.id = p.candidate_b JOIN policies AS b ON b.id = cb.policy_id
            WHERE p.batch = ?
            """,
            [batch],
        )
        return {
            str(row["prompt_id"])
            for row in rows
            if versions.get(row["name_a"], "") == row["version_a"]
            and versions.get(row["name_b"], "") == row["version_b"]
        }


def _prompt_id(row: Mapping[str, Any]) -> str:
    """The id that ``add_prompt`` gives the prompt of a dialogue."""
    dialogue = storable(row["dialogue"]).strip()
    return content_id(dialogue, storable(SUMMARIZE.prompt(row["dialogue"])))


def _row(
    item: Mapping[str, Any], one: Mapping[str, Any], two: Mapping[str, Any], sampling: Sampling
) -> dict[str, Any]:
    """A row for ``load_pairs``. An empty response stays visible as one: it is judged like any."""
    settings = asdict(sampling)
    sides: dict[str, Any] = {}
    for letter, side in (("a", one), ("b", two)):
        text = clean_text(side["text"])
        sides |= {
            letter: text or "(no text)",
            f"policy_{letter}": side["policy"],
            f"fingerprint_{letter}": side["fingerprint"],
            f"reward_{letter}": side["reward"],
            f"toxicity_{letter}": side["toxicity"],
            f"sampling_{letter}": settings,
        }
    return {
        "id": item["id"],
        "dialogue": item["dialogue"],
        "prompt": SUMMARIZE.prompt(item["dialogue"]),
        "topic": item["topic"],
        "tone": item["tone"],
        "split": item["split"],
        **sides,
    }
