"""The models an app holds: loaded once in the background, used by one request at a time.

The model libraries take seconds to import, so they are imported by the thread that loads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from detox.config import Sampling
from detox.data import check_dialogue
from detox.errors import UserError
from detox.results import Row
from detox.tasks import SUMMARIZE
from detox.writers import Writers

if TYPE_CHECKING:
    from datasets import Dataset

    from detox.generation import Done
    from detox.models import Policy
    from detox.rewards import HateClassifier, PreferenceReward

# Seconds between two looks at a loading model.
POLL = 0.3
# Dialogues of a batch that are computed before another request gets its turn, and where there
# is no other.
TURN, ALONE = 5, 32


@dataclass(frozen=True)
class Status:
    """How far loading is; ``error`` is a sentence for people when it failed."""

    ready: bool
    share: float
    text: str
    error: str = ""


@dataclass(frozen=True)
class Side:
    """One policy's response; scores are None while it is still being written.

    ``preference`` is the reward model's score, None where there is no such model.
    """

    policy: str
    text: str
    words: int
    reward: float | None = None
    toxicity: float | None = None
    preference: float | None = None


class Workbench:
    """Policies by name and a hate classifier, whose ``label`` to reward may have to be named.

    ``reward`` may name a second judge, a model trained on people's picks: ``preference:FOLDER``.
    ``start`` returns at once. Generation is serialised by a lock: two requests at a time on
    the same cores would only make both slower. Bulk work gives others their turn after ``turn``
    dialogues; larger turns are faster where nobody waits. Policies that come later are taken in
    by ``learn``. ``lend`` makes of policies by name what writes for them.
    """

    def __init__(
        self,
        policies: dict[str, str],
        classifier: str = "",
        label: str | None = None,
        reward: str = "",
        turn: int = TURN,
        lend: Callable[[dict[str, Policy]], Writers] = Writers,
    ) -> None:
        self.turn = turn
        self.specs, self.classifier, self.label = policies, classifier, label
        self.reward = reward
        self._lend = lend
        self._writers = lend({})
        # known as soon as the files were found, long before their weights are loaded
        self.fingerprints: dict[str, str] = {}
        self.judge: HateClassifier | None = None
        self.preference: PreferenceReward | None = None
        # of its own: it scores what was computed beforehand while others' summaries are written
        self._preference_lock = threading.Lock()
        self._status = Status(False, 0.0, "waiting to load the models")
        self._lock = threading.Lock()
        # of its own, so that nobody who asks how far loading is waits for somebody's summary
        self._start_lock = threading.Lock()
        self._loaded = threading.Event()
        self._started = False
        # policies to take in, and why some could not be; both are replaced, never changed
        self.coming: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._learning = False

    @property
    def policies(self) -> dict[str, Policy]:
        """Those that are there, by name."""
        return self._writers.policies

    def start(self) -> None:
        """Begins loading in the background; further calls do nothing."""
        with self._start_lock:
            if self._started:
                return
            self._started = True
        threading.Thread(target=self._load, daemon=True, name="model-loader").start()

    def learn(self, name: str, spec: str) -> None:
        """Takes in one more policy in the background, once the first ones are there.

        It shares weights with those that it can share with. Returns at once; a name that is known
        already changes nothing. ``coming`` has the names that are awaited, ``refused`` a sentence
        for each that could not be loaded; learning it again tries again.
        """
        with self._start_lock:
            if name in self.specs or name in self.coming:
                return
            self.coming = {**self.coming, name: spec}
            self.refused = {other: said for other, said in self.refused.items() if other != name}
            if self._learning:
                return
            self._learning = True
        threading.Thread(target=self._learn, daemon=True, name="model-learner").start()

    def judge_by(self, reward: str) -> None:
        """Makes ``preference:FOLDER`` the second judge from now on; takes the time to load it.

        Raises ``UserError`` for what is no reward model; the judge there was stays then.
        """
        from detox.rewards import load_second_judge

        judge = load_second_judge(reward)
        with self._preference_lock:
            self.reward, self.preference = reward, judge

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
        texts: tuple[str, ...] = ("",) * len(names)
        with self._lock:
            # not before: a policy that is taken in may wrap the weights of others
            for texts in self._writers.stream(names, SUMMARIZE.prompt(text), sampling):
                yield tuple(
                    Side(name, t, len(t.split())) for name, t in zip(names, texts, strict=True)
                )
            sides = self.preferring(text, self._scored(names, texts))
        yield sides

    def answer(self, name: str, prompt: str, sampling: Sampling) -> Side:
        """What the policy ``name`` says to ``prompt`` as it stands, scored.

        Raises ``UserError`` for unknown policies, failed loading, and a prompt that is too long,
        with its number of tokens.
        """
        self.check_names((name,))
        self.wait()
        with self._lock:
            (side,) = self._scored((name,), self._writers.write(name, [prompt], sampling))
        return side

    def preferring(self, dialogue: str, sides: tuple[Side, ...]) -> tuple[Side, ...]:
        """``sides`` with what the reward model says of them as summaries of ``dialogue``.

        As they are where there is none, or while it is still being loaded.
        """
        judge = self.preference
        if judge is None:
            return sides
        prompt = SUMMARIZE.prompt(dialogue.strip())
        with self._preference_lock:
            found = judge.score([prompt] * len(sides), [side.text for side in sides]).tolist()
        return tuple(
            replace(side, preference=score) for side, score in zip(sides, found, strict=True)
        )

    def chance(self, sides: Sequence[Side]) -> float | None:
        """The chance, by the reward model, that people prefer the second of two sides.

        None where a score is missing.
        """
        first, second = (side.preference for side in sides)
        if self.preference is None or first is None or second is None:
            return None
        from detox.calibration import chance_of

        return chance_of(second - first, self.preference.temperature)

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
        """Rows of ``detox.evaluation.compare_policies``, a turn of dialogues at a time.

        With their KL if asked for. Other requests get their turn in between. Raises
        ``UserError`` as ``compare`` does.
        """
        self.check_names((before, after))
        self.wait()
        from detox.evaluation import add_kl, compare_policies
        from detox.judges import add_preference

        assert self.judge is not None
        for start in range(0, len(dialogues), self.turn):
            part = dialogues.select(range(start, min(start + self.turn, len(dialogues))))
            with self._lock:
                first, second = self.policies[before], self.policies[after]
                rows = compare_policies(
                    first, second, part, self.judge, sampling, samples=samples, write=self._write
                )
                if kl:
                    add_kl(rows, first, second)
                if self.preference is not None:
                    with self._preference_lock:
                        add_preference(rows, self.preference)
            yield rows

    def respond(
        self, names: Sequence[str], dialogues: Dataset, sampling: Sampling
    ) -> Iterator[tuple[Dataset, dict[str, list[Row]]]]:
        """What each policy of ``names`` answers, measured, a turn of dialogues at a time.

        Yields the dialogues of a turn and the rows of ``detox.evaluation.respond`` by policy.
        Other requests get their turn in between. Raises ``UserError`` as ``compare`` does.
        """
        self.check_names(names)
        self.wait()
        from detox.evaluation import respond

        assert self.judge is not None
        for start in range(0, len(dialogues), self.turn):
            part = dialogues.select(range(start, min(start + self.turn, len(dialogues))))
            with self._lock:
                rows = {
                    name: respond(
                        self.policies[name], part, self.judge, sampling, write=self._write
                    )
                    for name in names
                }
            yield part, rows

    def _write(
        self, policy: Policy, prompts: Sequence[str], sampling: Sampling, done: Done
    ) -> list[str]:
        texts = self._writers.write(policy.name, prompts, sampling)
        done(len(texts), len(prompts))
        return texts

    def check_names(self, names: Sequence[str]) -> None:
        """Raises ``UserError`` that lists the known policies when one of ``names`` is not."""
        for name in names:
            if name in self.coming:
                raise UserError(f"'{name}' is still being loaded: try again in a moment.")
            if name not in self.specs:
                known = ", ".join(self.specs)
                raise UserError(f"Unknown policy '{name}': choose one of {known}.")

    def _load(self) -> None:
        try:
            self._tell(0.0, "starting the model libraries")
            from detox.models import find_source, fingerprint, load_policies
            from detox.rewards import load_classifier_reward, load_second_judge

            self.fingerprints = {
                name: fingerprint(find_source(spec)) for name, spec in self.specs.items()
            }
            self._tell(0.05, "loading the hate classifier")
            judge = load_classifier_reward(self.classifier, gentle_label=self.label)
            preference = load_second_judge(self.reward)
            self._tell(0.2, "loading the policies")
            policies = load_policies(
                self.specs, lambda share, text: self._tell(0.2 + 0.8 * share, text)
            )
            self.judge, self.preference = judge, preference
            self._writers = self._lend(policies)
            self._status = Status(True, 1.0, "ready")
        except UserError as error:
            self._status = Status(False, 1.0, "loading failed", str(error))
        except Exception as error:  # a thread's traceback would be seen by nobody
            self._status = Status(
                False, 1.0, "loading failed", f"The models could not be loaded ({error})."
            )
        finally:
            self._loaded.set()

    def _learn(self) -> None:
        """Takes in what is awaited, one after the other, until nothing is."""
        self._loaded.wait()
        said, done = "", ""
        while True:
            with self._start_lock:
                if said:
                    self.refused = {**self.refused, done: said}
                self.coming = {name: spec for name, spec in self.coming.items() if name != done}
                if not self.coming:
                    self._learning = False
                    return
                done, spec = next(iter(self.coming.items()))
            said = self._status.error or self._take_in(done, spec)

    def _take_in(self, name: str, spec: str) -> str:
        """Loads one policy beside the others; an empty text, or why it could not be loaded."""
        try:
            from detox.models import add_policy, load_beside

            beside = load_beside(self.policies, spec)
            with self._lock:
                self._writers = self._lend(add_policy(self.policies, name, beside))
        except UserError as error:
            return str(error)
        except Exception as error:  # as in _load
            return f"The version '{name}' could not be loaded ({error})."
        self.fingerprints = {**self.fingerprints, name: self.policies[name].fingerprint}
        self.specs = {**self.specs, name: spec}
        return ""

    def _tell(self, share: float, text: str) -> None:
        self._status = Status(False, share, text)
