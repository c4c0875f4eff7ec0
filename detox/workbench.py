"""The models an app holds: loaded once in the background, used by one request at a time.

The model libraries take seconds to import, so they are imported by the thread that loads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detox.config import Sampling
from detox.data import check_dialogue
from detox.errors import UserError
from detox.results import Row
from detox.tasks import SUMMARIZE

if TYPE_CHECKING:
    from datasets import Dataset

    from detox.models import Policy
    from detox.rewards import HateClassifier

# Seconds between two looks at a loading model.
POLL = 0.3
# Dialogues of a batch that are computed before another request gets its turn.
TURN = 5


@dataclass(frozen=True)
class Status:
    """How far loading is; ``error`` is a sentence for people when it failed."""

    ready: bool
    share: float
    text: str
    error: str = ""


@dataclass(frozen=True)
class Side:
    """One policy's response; scores are None while it is still being written."""

    policy: str
    text: str
    words: int
    reward: float | None = None
    toxicity: float | None = None


class Workbench:
    """Policies by name and a hate classifier, whose ``label`` to reward may have to be named.

    ``start`` returns at once. Generation is serialised by a lock: two requests at a time on
    the same cores would only make both slower.
    """

    def __init__(
        self, policies: dict[str, str], classifier: str = "", label: str | None = None
    ) -> None:
        self.specs, self.classifier, self.label = policies, classifier, label
        self.policies: dict[str, Policy] = {}
        # known as soon as the files were found, long before their weights are loaded
        self.fingerprints: dict[str, str] = {}
        self.judge: HateClassifier | None = None
        self._status = Status(False, 0.0, "waiting to load the models")
        self._lock = threading.Lock()
        # of its own, so that nobody who asks how far loading is waits for somebody's summary
        self._start_lock = threading.Lock()
        self._loaded = threading.Event()
        self._started = False

    def start(self) -> None:
        """Begins loading in the background; further calls do nothing."""
        with self._start_lock:
            if self._started:
                return
            self._started = True
        threading.Thread(target=self._load, daemon=True, name="model-loader").start()

    def status(self) -> Status:
        """How far loading is, at any time and without waiting."""
        return self._status

    def wait(self, timeout: float | None = None) -> None:
        """Blocks until the models are there; ``UserError`` when they cannot be loaded."""
        self.start()
        self._loaded.wait(timeout)
        if self._status.error:
            raise UserError(self._status.error)
        if not self._status.ready:
            raise UserError("The models are still loading: try again in a moment.")

    def loading(self) -> Iterator[Status]:
        """How far the models are, until they are there or ``UserError`` says why they are not."""
        self.start()
        while not (status := self.status()).ready:
            if status.error:
                raise UserError(status.error)
            yield status
            time.sleep(POLL)

    def compare(
        self, names: Sequence[str], dialogue: str, sampling: Sampling
    ) -> Iterator[tuple[Side, ...]]:
        """Responses of the policies ``names`` to ``dialogue`` as they grow, scored at the end.

        Raises ``UserError`` for unusable dialogues, unknown policies and failed loading.
        """
        text = check_dialogue(dialogue)
        self.check_names(names)
        self.wait()
        from detox.generation import compare

        chosen = [self.policies[name] for name in names]
        texts: tuple[str, ...] = ("",) * len(names)
        with self._lock:
            for texts in compare(chosen, SUMMARIZE.prompt(text), sampling):
                yield tuple(
                    Side(name, t, len(t.split())) for name, t in zip(names, texts, strict=True)
                )
            sides = self._scored(names, texts)
        yield sides

    def answer(self, name: str, prompt: str, sampling: Sampling) -> Side:
        """What the policy ``name`` says to ``prompt`` as it stands, scored.

        Raises ``UserError`` for unknown policies, failed loading, and a prompt that is too long,
        with its number of tokens.
        """
        self.check_names((name,))
        self.wait()
        from detox.generation import generate

        with self._lock:
            (side,) = self._scored((name,), generate(self.policies[name], [prompt], sampling))
        return side

    def _scored(self, names: Sequence[str], texts: Sequence[str]) -> tuple[Side, ...]:
        assert self.judge is not None
        scores = self.judge.rate(texts)
        return tuple(
            Side(name, text, len(text.split()), float(reward), float(toxicity))
            for name, text, reward, toxicity in zip(
                names, texts, scores.reward, scores.toxicity, strict=True
            )
        )

    def evaluate(
        self,
        before: str,
        after: str,
        dialogues: Dataset,
        sampling: Sampling,
        samples: int = 1,
        kl: bool = False,
    ) -> Iterator[list[Row]]:
        """Rows of ``detox.evaluation.compare_policies``, ``TURN`` dialogues at a time.

        With their KL if asked for. Other requests get their turn in between. Raises
        ``UserError`` as ``compare`` does.
        """
        self.check_names((before, after))
        self.wait()
        from detox.evaluation import add_kl, compare_policies

        assert self.judge is not None
        first, second = self.policies[before], self.policies[after]
        for start in range(0, len(dialogues), TURN):
            part = dialogues.select(range(start, min(start + TURN, len(dialogues))))
            with self._lock:
                rows = compare_policies(first, second, part, self.judge, sampling, samples=samples)
                if kl:
                    add_kl(rows, first, second)
            yield rows

    def respond(
        self, names: Sequence[str], dialogues: Dataset, sampling: Sampling
    ) -> Iterator[tuple[Dataset, dict[str, list[Row]]]]:
        """What each policy of ``names`` answers, measured, ``TURN`` dialogues at a time.

        Yields the dialogues of a turn and the rows of ``detox.evaluation.respond`` by policy.
        Other requests get their turn in between. Raises ``UserError`` as ``compare`` does.
        """
        self.check_names(names)
        self.wait()
        from detox.evaluation import respond

        assert self.judge is not None
        for start in range(0, len(dialogues), TURN):
            part = dialogues.select(range(start, min(start + TURN, len(dialogues))))
            with self._lock:
                rows = {
                    name: respond(self.policies[name], part, self.judge, sampling) for name in names
                }
            yield part, rows

    def check_names(self, names: Sequence[str]) -> None:
        """Raises ``UserError`` that lists the known policies when one of ``names`` is not."""
        for name in names:
            if name not in self.specs:
                known = ", ".join(self.specs)
                raise UserError(f"Unknown policy '{name}': choose one of {known}.")

    def _load(self) -> None:
        try:
            self._tell(0.0, "starting the model libraries")
            from detox.models import find_source, fingerprint, load_policies
            from detox.rewards import load_classifier_reward

            self.fingerprints = {
                name: fingerprint(find_source(spec)) for name, spec in self.specs.items()
            }
            self._tell(0.05, "loading the hate classifier")
            judge = load_classifier_reward(self.classifier, gentle_label=self.label)
            self._tell(0.2, "loading the policies")
            policies = load_policies(
                self.specs, lambda share, text: self._tell(0.2 + 0.8 * share, text)
            )
            self.judge, self.policies = judge, policies
            self._status = Status(True, 1.0, "ready")
        except UserError as error:
            self._status = Status(False, 1.0, "loading failed", str(error))
        except Exception as error:  # a thread's traceback would be seen by nobody
            self._status = Status(
                False, 1.0, "loading failed", f"The models could not be loaded ({error})."
            )
        finally:
            self._loaded.set()

    def _tell(self, share: float, text: str) -> None:
        self._status = Status(False, share, text)
