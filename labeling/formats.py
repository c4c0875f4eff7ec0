"""Preferences as rows of each tool's own format; pure functions from dictionaries to dictionaries.

A preference is a row of the view ``preferences``, or one made of several by aggregation. Each
converter returns the rows that one preference becomes: none where the format cannot hold it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from labeling.schema import CHOICES

Row = dict[str, Any]
Preference = Mapping[str, Any]

# Llama 2 (Touvron et al., 2023, table 27), small margin: 1 for "significantly better", 2/3 for
# "better", 1/3 for "slightly better".
MARGINS = {"clearly": 1.0, None: 2 / 3, "slightly": 1 / 3}
# The comparisons' confidence runs from 1 to 9; ours has two levels.
CONFIDENCE = {"clearly": 8, "slightly": 3}

# What a pick's sides were made by: parts of the identity of a policy and of a response.
VERSION = ("base", "adapter", "fingerprint", "sampling")

RAW_COLUMNS = (
    "pick",
    "assignment_id",
    "kind",
    "pair_id",
    "batch",
    "split",
    "source",
    "topic",
    "tone",
    "dialogue",
    "prompt",
    "left_text",
    "right_text",
    "left_candidate",
    "right_candidate",
    "left_policy",
    "right_policy",
    "left_policy_id",
    "right_policy_id",
    *(f"{side}_{name}" for side in ("left", "right") for name in VERSION),
    "left_reward",
    "right_reward",
    "left_toxicity",
    "right_toxicity",
    "choice",
    "chosen",
    "rejected",
    "chosen_policy",
    "rejected_policy",
    "strength",
    "reasons",
    "note",
    "seconds",
    "flagged",
    "informed",
    "labeler",
    "labeler_kind",
    "assigned_at",
    "revealed_at",
    "picked_at",
    "app_version",
)
# How many rows a choice becomes in each format; none where a format cannot hold it.
_PAIRWISE = {"left": 1, "right": 1}
_EVERY = dict.fromkeys(CHOICES, 1)
ROWS = {
    "trl-explicit": _PAIRWISE,
    "trl-implicit": _PAIRWISE,
    "trl-conversational": _PAIRWISE,
    "trl-unpaired": {"left": 2, "right": 2, "both_bad": 2},
    "vertex-preference": _PAIRWISE,
    "openai-comparisons": _PAIRWISE,
    "csv": _EVERY,
    "parquet": _EVERY,
    "folder": _PAIRWISE,
}
# Formats of raw picks, and those that show what was generated and need no picks.
RAW = ("csv", "parquet")
UNLABELED = ("vertex-prompts", "vertex-bulk-inference")
WITH_MARGIN = ("trl-explicit", "trl-implicit", "trl-conversational", "folder")


def split_prompt(prompt: str) -> tuple[str, str]:
    """A prompt without its trailing white space, and the separator a completion begins with.

    TRL concatenates prompt and completion, and a tokenizer must cut between them: so the white
    space belongs to the completion.
    """
    bare = prompt.rstrip()
    return bare, prompt[len(bare) :] or " "


def decided(preference: Preference) -> bool:
    """Whether one side was preferred."""
    return preference["choice"] in ("left", "right")


def trl_explicit(preference: Preference) -> list[Row]:
    """``{"prompt", "chosen", "rejected"}``."""
    if not decided(preference):
        return []
    prompt, gap = split_prompt(preference["prompt"])
    return [
        {
            "prompt": prompt,
            "chosen": gap + preference["chosen"],
            "rejected": gap + preference["rejected"],
        }
    ]


def trl_implicit(preference: Preference) -> list[Row]:
    """``{"chosen", "rejected"}``, each with the prompt in front."""
    return [
        {"chosen": row["prompt"] + row["chosen"], "rejected": row["prompt"] + row["rejected"]}
        for row in trl_explicit(preference)
    ]


def trl_conversational(preference: Preference) -> list[Row]:
    """``{"prompt", "chosen", "rejected"}`` as lists of messages."""
    if not decided(preference):
        return []
    return [
        {
            "prompt": [_message("user", preference["prompt"].strip())],
            "chosen": [_message("assistant", preference["chosen"])],
            "rejected": [_message("assistant", preference["rejected"])],
        }
    ]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def trl_unpaired(preference: Preference) -> list[Row]:
    """``{"prompt", "completion", "label"}``: two rows, both False where both were bad."""
    labels = {"left": (True, False), "right": (False, True), "both_bad": (False, False)}
    if preference["choice"] not in labels:
        return []
    prompt, gap = split_prompt(preference["prompt"])
    texts = (preference["left_text"], preference["right_text"])
    return [
        {"prompt": prompt, "completion": gap + text, "label": label}
        for text, label in zip(texts, labels[preference["choice"]], strict=True)
    ]


def with_margin(row: Row, preference: Preference) -> Row:
    """``row`` with TRL's ``margin``: that of the votes, or from the strength of a single pick."""
    return row | {"margin": preference.get("margin", MARGINS[preference["strength"]])}


def vertex_preference(preference: Preference, rng: random.Random) -> list[Row]:
    """``{"input_text", "candidate_0", "candidate_1", "choice"}``, slots drawn by ``rng``."""
    if not decided(preference):
        return []
    choice = rng.randrange(2)
    texts = [preference["rejected"]] * 2
    texts[choice] = preference["chosen"]
    return [
        {
            "input_text": preference["prompt"],
            "candidate_0": texts[0],
            "candidate_1": texts[1],
            "choice": choice,
        }
    ]


def openai_comparisons(preference: Preference) -> list[Row]:
    """A row as in OpenAI's summarize-from-feedback comparisons, in the order the labeler saw."""
    if not decided(preference):
        return []
    sides = [
        (preference[f"{side}_text"], preference[f"{side}_policy"]) for side in ("left", "right")
    ]
    return [
        {
            "info": {
                "id": preference["prompt_id"],
                "post": preference["dialogue"],
                "prompt": preference["prompt"],
                "topic": preference["topic"],
            },
            "summaries": [{"text": text, "policy": name, "note": None} for text, name in sides],
            "choice": 0 if preference["choice"] == "left" else 1,
            "worker": preference["labeler"],
            "batch": preference["batch"],
            "split": preference["split"],
            "extra": {
                "confidence": CONFIDENCE.get(preference["strength"]),
                "strength": preference["strength"],
                "note": preference["note"],
            },
        }
    ]


def raw(preference: Preference) -> list[Row]:
    """Every pick as it was made, ties and skips too, with the labeler's pseudonym."""
    row = {name: preference[name] for name in RAW_COLUMNS}
    truths = {name: bool(row[name]) for name in ("flagged", "informed")}
    return [row | truths | {"reasons": json.loads(preference["reasons"])}]


# What a spreadsheet may take for the start of a formula, behind any marks of ours; the wide forms
# are what some locales type.
_FORMULA = re.compile("'*(?:[\t\r]|\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20])")


def inert(value: object) -> object:
    """A CSV cell that no spreadsheet runs as a formula: text that looks like one gets a ``'``.

    So does text that looks like one made inert, so that ``alive`` gives back exactly what was.
    Source: OWASP, "CSV Injection".
    """
    return "'" + value if isinstance(value, str) and _FORMULA.match(value) else value


def alive(cell: str) -> str:
    """The text that ``inert`` made ``cell`` of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


Converter = Callable[[Preference], list[Row]]
CONVERTERS: dict[str, Converter] = {
    "trl-explicit": trl_explicit,
    "trl-implicit": trl_implicit,
    "trl-conversational": trl_conversational,
    "trl-unpaired": trl_unpaired,
    "openai-comparisons": openai_comparisons,
    "csv": raw,
    "parquet": raw,
}
