"""Before against after: the same prompts, two policies, paired statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from detox.config import Sampling
from detox.data import is_rude, prompts
from detox.divergence import response_kl, same_tokens
from detox.faithfulness import kept, supported
from detox.generation import Done, generate
from detox.judges import CLASSIFIER, PREFERENCE, held_out_judges, learned_from, tuned_on
from detox.models import Policy, find_source, read_lineage
from detox.profanity import profanity
from detox.results import Row
from detox.rewards import HateClassifier, PreferenceReward
from detox.rouge import rouge
from detox.tasks import SUMMARIZE, Task

# What writes the responses of a policy to prompts, and tells how far it is.
Write = Callable[[Policy, Sequence[str], Sampling, Done], list[str]]


def _write_here(
    policy: Policy, prompts: Sequence[str], sampling: Sampling, done: Done
) -> list[str]:
    return generate(policy, prompts, sampling, done=done)


def compare_policies(
    before: Policy,
    after: Policy,
    dialogues: Dataset,
    judge: HateClassifier,
    sampling: Sampling,
    done: Done = lambda finished, total: None,
    samples: int = 1,
    task: Task = SUMMARIZE,
    write: Write = _write_here,
) -> list[Row]:
    """``samples`` rows a dialogue: both responses, and all that is measured of them.

    That is reward, toxicity, ``profanity`` (a second judge), words, ROUGE (0 to 100, F-measure,
    stemmed, mean over the references), and the shares of names and numbers that are ``supported``
    by the dialogue and ``kept`` from the references. What cannot be measured is null. Sample k
    is drawn with the seed of ``sampling`` plus k.
    """
    total = 2 * samples * len(dialogues)
    sides = []
    for number, policy in enumerate((before, after)):

        def tell(finished: int, _: int, earlier: int = number * samples * len(dialogues)) -> None:
            done(earlier + finished, total)

        sides.append(respond(policy, dialogues, judge, sampling, tell, samples, task, write))
    return pair_up(dialogues, sides[0], sides[1], task)


def respond(
    policy: Policy,
    dialogues: Dataset,
    judge: HateClassifier,
    sampling: Sampling,
    done: Done = lambda finished, total: None,
    samples: int = 1,
    task: Task = SUMMARIZE,
    write: Write = _write_here,
) -> list[Row]:
    """What one policy answers and what is measured of it: all dialogues, ``samples`` times over.

    One side of ``compare_policies``, for when one policy meets several others.
    """
    queries = prompts(dialogues, task)
    found: list[Row] = []
    for sample in range(samples):

        def tell(finished: int, _: int, earlier: int = sample * len(queries)) -> None:
            done(earlier + finished, samples * len(queries))

        drawn = replace(sampling, seed=sampling.seed + sample)
        found += measured(policy, write(policy, queries, drawn, tell), dialogues, judge)
    return found


def pair_up(
    dialogues: Dataset, before: Sequence[Row], after: Sequence[Row], task: Task = SUMMARIZE
) -> list[Row]:
    """Rows of ``compare_policies`` from what two policies ``respond``ed to ``dialogues``.

    The rows hold copies, so that ``before`` may be paired again.
    """
    queries = prompts(dialogues, task)
    rows = []
    for place, (first, second) in enumerate(zip(before, after, strict=True)):
        sample, number = divmod(place, len(queries))
        item = dialogues[number]
        rows.append(
            {
                "id": item["id"],
                "sample": sample,
                "dialogue": item["dialogue"],
                "prompt": queries[number],
                "topic": item["topic"],
                "tone": item["tone"],
                "rude": is_rude(item),
                "split": item["split"],
                "before": dict(first),
                "after": dict(second),
                "reward_diff": round(second["reward"] - first["reward"], 4),
            }
        )
    return rows


def measured(
    policy: Policy, texts: Sequence[str], dialogues: Dataset, judge: HateClassifier
) -> list[Row]:
    """What is measured of each of ``texts``, the responses of ``policy`` to ``dialogues``."""
    scores = judge.rate(texts)
    return [
        {
            "policy": policy.name,
            "fingerprint": policy.fingerprint,
            "text": text,
            "reward": round(float(reward), 4),
            "toxicity": round(float(toxicity), 4),
            "profanity": round(profane, 4),
            "words": len(text.split()),
            **rouge(text, item["references"]),
            "supported": _rounded(supported(text, item["dialogue"])),
            "kept": _rounded(kept(text, item["references"])),
        }
        for text, reward, toxicity, profane, item in zip(
            texts, scores.reward, scores.toxicity, profanity(texts), dialogues, strict=True
        )
    ]


def add_kl(
    rows: Sequence[Row],
    before: Policy,
    after: Policy,
    done: Done = lambda finished, total: None,
) -> None:
    """Writes ``kl`` to each row's after: KL(after || before) of its response, in nats.

    Policies that speak in different tokens have none, and the rows stay as they are.
    """
    if same_tokens(before, after):
        asked = [row["prompt"] for row in rows]
        texts = [row["after"]["text"] for row in rows]
        found = response_kl(after, before, asked, texts, done=done)
        for row, kl in zip(rows, found, strict=True):
            row["after"]["kl"] = round(kl, 4)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def about_judges(after: str, preference: PreferenceReward, rows: Sequence[Row]) -> dict[str, Any]:
    """Which judges the policy ``after`` (its spec) was tuned to please, and which are held out.

    Also how many of the prompts of ``rows`` the preference model learned from, None if it does
    not say. Raises ``UserError`` for an adapter that cannot be found.
    """
    pleased = tuned_on([read_lineage(folder) for folder in find_source(after).adapters])
    return {
        "preference": preference.name,
        "tuned_on": sorted(pleased),
        "held_out": held_out_judges(pleased, (CLASSIFIER, PREFERENCE)),
        "learned_from": learned_from(Path(preference.name), [row["prompt"] for row in rows]),
    }


def about(
    before: Policy, after: Policy, judge: HateClassifier, sampling: Sampling, data: str, split: str
) -> dict[str, Any]:
    """Where results come from: policies with fingerprints, judge, sampling and data."""
    return {
        "before": {"policy": before.name, "fingerprint": before.fingerprint},
        "after": {"policy": after.name, "fingerprint": after.fingerprint},
        "judge": judge.describe(),
        "sampling": asdict(sampling),
        "data": data,
        "split": split,
    }
