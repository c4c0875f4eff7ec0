"""Signs that a policy serves its reward and no longer its readers (Gao et al. 2022, reward
over-optimisation): it says less, says the same to everybody, or repeats itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

# When a difference is worth a warning: chosen beforehand, on no data.
WINDOW = 5  # steps of a run whose mean counts, since single batches differ by chance
SHORTER, POORER, LOST_ROUGE, REPEATED, EMPTY = 0.7, 0.8, 1.0, 0.05, 0.01


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams as a share of all n-grams in ``texts`` (distinct-n, Li et al. 2016)."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repeated(texts: Sequence[str]) -> float:
    """Share of the texts that say, but for case and spaces, what another one says too."""
    plain = [" ".join(text.lower().split()) for text in texts]
    counts = Counter(plain)
    return sum(counts[text] > 1 for text in plain) / len(plain) if plain else 0.0


def echoed(text: str, n: int = 3) -> float:
    """Share of the n-grams of ``text`` that it has used before, 0 for a text that never repeats."""
    grams = list(_grams(text, n))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.lower().split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def variety(texts: Sequence[str]) -> dict[str, float]:
    """How varied ``texts`` are, each share from 0 to 1.

    Texts to different prompts only: several samples of one prompt are alike in any policy.
    """
    return {
        "distinct1": round(distinct(texts, 1), 4),
        "distinct2": round(distinct(texts, 2), 4),
        "repeated": round(repeated(texts), 4),
        "echoed": round(sum(map(echoed, texts)) / max(1, len(texts)), 4),
        "empty": round(sum(not text.strip() for text in texts) / max(1, len(texts)), 4),
    }


def collapsed(steps: Sequence[dict[str, Any]], share: float) -> str:
    """What speaks for stopping a PPO run after ``steps`` (its log), a clause; empty for nothing.

    The mean response length and the variety of the last ``WINDOW`` steps are held against those
    of the first: below ``share`` of them the policy has found a way out of its task.
    """
    for key, clause in (
        ("tokens/response_mean", "responses shrank from {:.1f} to {:.1f} tokens"),
        ("text/distinct2", "different word pairs of a batch fell from {:.0%} to {:.0%}"),
    ):
        values = [row[key] for row in steps if row.get(key) is not None]
        if len(values) < 2 * WINDOW:
            continue
        first, last = (sum(part) / WINDOW for part in (values[:WINDOW], values[-WINDOW:]))
        if last < share * first:
            return clause.format(first, last)
    return ""


def signs(group: dict[str, Any]) -> list[str]:
    """What in a group of ``detox.results.summarise`` speaks of over-optimisation, in sentences.

    Where the reward did not rise there is nothing to suspect, and the list is empty.
    """
    if group["reward"]["difference"] <= 0:
        return []
    found = []
    words, before, after = group["words"], group["variety"]["before"], group["variety"]["after"]
    if words["after_mean"] < SHORTER * words["before_mean"]:
        found.append(
            f"Responses shrank from {words['before_mean']:.1f} to {words['after_mean']:.1f} words."
        )
    rouge = group.get("rouge1")
    if rouge and rouge["difference"] < -LOST_ROUGE and rouge["verdict"] == "lower":
        found.append(f"ROUGE-1 fell by {-rouge['difference']:.1f} points.")
    if after["distinct2"] < POORER * before["distinct2"]:
        found.append(
            f"Different word pairs fell from {before['distinct2']:.0%} to {after['distinct2']:.0%}."
        )
    for key, limit, sentence in (
        ("repeated", REPEATED, "of the responses are copies of another one"),
        ("echoed", REPEATED, "of a response repeats what it said before"),
        ("empty", EMPTY, "of the responses are empty"),
    ):
        if after[key] > limit and after[key] > 2 * before[key]:
            found.append(f"{after[key]:.0%} {sentence} (before: {before[key]:.0%}).")
    return found
