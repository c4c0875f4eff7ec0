"""A policy between its reference and itself: how far a run should go, decided afterwards."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from detox.errors import UserError
from detox.models import ADAPTER_CONFIG, ADAPTER_WEIGHTS, LINEAGE, find_source, read_lineage


def interpolate(adapter: Path, share: float, output: Path) -> dict[str, Any]:
    """Writes the policy ``reference + share * (adapter - reference)`` as an adapter.

    A LoRA update is the product of two matrices, so one of them times ``share`` is exact.
    Between 0 and 1 this walks back the reward–KL frontier of a run without training again
    (Ramé et al. 2024, WARP: linear interpolation towards initialization).

    Returns the new lineage. Raises ``UserError`` for a share outside (0, 1], a missing
    adapter, or a folder that cannot be written.
    """
    if not 0 < share <= 1:
        raise UserError("The share must be above 0 (the reference) and at most 1 (the adapter).")
    source = find_source(str(adapter))
    if not source.adapters:
        raise UserError(f"There is no adapter in {adapter}: train one or check the path.")
    lineage = read_lineage(adapter) | {"share": share}
    if len(source.adapters) > 1:
        parent = source.adapters[-2]
        lineage["parent"] = os.path.relpath(parent.resolve(), output.resolve())
    tensors = load_file(adapter / ADAPTER_WEIGHTS)
    scaled = {
        name: (values * share if ".lora_B." in name else values).contiguous()
        for name, values in tensors.items()
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        save_file(scaled, output / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        (output / LINEAGE).write_text(json.dumps(lineage, indent=2) + "\n", encoding="utf-8")
        for file in (ADAPTER_CONFIG, "metrics.jsonl"):
            if (adapter / file).is_file() and adapter.resolve() != output.resolve():
                shutil.copyfile(adapter / file, output / file)
    except OSError as error:
        raise UserError(f"The adapter cannot be written to {output}: {error.strerror}.") from error
    return lineage
