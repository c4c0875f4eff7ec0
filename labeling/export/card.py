"""The dataset card of an exported folder: what ``datasets`` reads and what people do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

from huggingface_hub import DatasetCardData

from labeling.export.manifest import Manifest, counts

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_JOINED = {
    "every": "one row for each pick",
    "majority": "one row for each pair, as most of its votes say",
    "adjudicated": "one row for each pair, as a lead decided, or else as most of its votes say",
}
_MARGINS = {
    "every": "from the strength of the pick (1 clearly, 2/3 not said, 1/3 slightly)",
    "majority": "(votes for - votes against) / all votes of the pair",
    "adjudicated": "(votes for - votes against) / all votes of the pair, never below 0",
}


def dataset_card(manifest: Manifest, files: Sequence[str]) -> str:
    """The ``README.md`` of an exported folder with the ``files``, in huggingface_hub's format.

    ``datasets.load_dataset`` finds the configurations ``preferences`` (the default) and ``picks``
    in its head.
    """
    data = DatasetCardData(
        language="en",
        pretty_name="Detox Arena preferences",
        size_categories=next((name for size, name in _SIZES if manifest.rows < size), "n>1M"),
        task_categories=["summarization"],
        tags=["preferences", "rlhf", "trl"],
        configs=_configs(files),
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_text(manifest)}"


def _configs(files: Sequence[str]) -> list[dict[str, object]]:
    configs: list[dict[str, object]] = []
    for name in ("preferences", "picks"):
        parts = [
            {"split": PurePosixPath(file).stem, "path": file}
            for file in files
            if file.startswith(f"{name}/")
        ]
        if parts:
            default: dict[str, object] = {"default": True} if name == "preferences" else {}
            configs.append({"config_name": name, "data_files": parts, **default})
    return configs


def _text(manifest: Manifest) -> str:
    agreement, told = manifest.agreement, manifest.filters
    columns = "`prompt`, `chosen`, `rejected`" + (", `margin`" if told["margin"] else "")
    splits = ", ".join(f"{count} {split}" for split, count in manifest.rows_by_split.items())
    shared = agreement["raw"]
    lines = [
        "# Preferences between summaries",
        "",
        "Blind, side-randomised picks between two summaries of a dialogue, made with Detox Arena.",
        "",
        f"- `preferences`: {manifest.rows} rows of {columns} ({splits}), "
        f"{_JOINED[manifest.aggregation]}. They are TRL's explicit prompts: the separator belongs "
        "to the completion.",
        *([f"- `margin`: {_MARGINS[manifest.aggregation]}."] if told["margin"] else []),
        f"- `picks`: all {manifest.picks} picks on {manifest.pairs} pairs as they were made, with "
        "sides, policies and times; `kind` tells regular picks from repeats and gold, `informed` "
        "those whose labeler could already know which policy was which.",
        f"- Left out of `preferences`: {counts(manifest.left_out) or 'nothing'}.",
        f"- {manifest.prompts} prompts, {manifest.labelers} labelers (pseudonyms); splits are by "
        "dialogue.",
        f"- Agreement on {agreement['pairs']} pairs judged twice or more: "
        + (f"{shared:.0%}." if shared is not None else "none to measure yet."),
        f"- Filters: `{json.dumps(told)}`.",
        f"- Snapshot `{manifest.snapshot}`, written {manifest.created} by Detox Arena "
        f"{manifest.app_version}.",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        'preferences = load_dataset("OWNER/NAME", "preferences")  # or the path of this folder',
        'picks = load_dataset("OWNER/NAME", "picks")',
        "```",
        "",
        "Some dialogues and summaries are rude on purpose: they serve to teach a model not to be.",
        "",
    ]
    return "\n".join(lines)
