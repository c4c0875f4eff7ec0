"""A run of the pipeline: stages whose inputs have not changed are skipped, a cut one goes on."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detox import __version__, processes
from detox.errors import UserError
from detox.pipeline.cache import (
    Record,
    begin,
    digest,
    is_finished,
    key_of,
    model_digest,
    outputs_of,
    read_record,
    write_json,
    write_record,
)
from detox.pipeline.config import DATASETS, PipelineConfig
from detox.pipeline.formats import read_bytes, write_bytes
from detox.pipeline.page import write_page
from detox.pipeline.stages import STAGES, Stage
from detox.pipeline.work import REFERENCE, TUNED, Job, Tell
from detox.rewards import EMBEDDED_CLASSIFIER

MANIFEST = "pipeline.json"


def run_pipeline(config: PipelineConfig, fresh: bool = False, tell: Tell = print) -> dict[str, Any]:
    """Brings every stage up to date and writes ``pipeline.json`` and ``report.html``.

    A stage that ended with the same inputs (settings, data, models and stages before it) is
    skipped; the one that was cut off starts anew, or from PPO's checkpoint. ``fresh`` runs all.

    Returns the manifest. Raises ``UserError`` for data, models and settings that do not work.
    """
    if processes.count() > 1:
        raise UserError("The pipeline runs in one process: start it without 'accelerate launch'.")
    folder = Path(config.output)
    files = {name: read_bytes(getattr(config, name)) for name in DATASETS}
    models = {
        name: model_digest(getattr(config, name) or str(EMBEDDED_CLASSIFIER))
        for name in ("large_model_reference", "reward_model_base", "classifier")
    }
    records: dict[str, Record] = {}
    for stage in STAGES:
        inputs = _inputs(stage, config, files, models, records)
        records[stage.name] = _bring_up_to_date(stage, config, inputs, files, fresh, tell)
        write_json(folder / MANIFEST, _manifest(config, records))
    if config.prediction_output:
        for name in (REFERENCE, TUNED):
            content = (folder / "bulk_inference" / name).read_bytes()
            write_bytes(f"{config.prediction_output.rstrip('/')}/{name}", content)
    page = write_page(folder, config, records)
    tell(f"report in {page}")
    return _manifest(config, records)


def _inputs(
    stage: Stage,
    config: PipelineConfig,
    files: dict[str, bytes],
    models: dict[str, str],
    records: dict[str, Record],
) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "version": __version__,
        "settings": {name: getattr(config, name) for name in stage.settings},
        "files": {name: digest(files[name]) for name in stage.files},
        "models": {name: models[name] for name in stage.models},
        # a stage that was run again may have ended elsewhere, with the same inputs
        "stages": {
            name: {key: records[name][key] for key in ("key", "outputs")} for name in stage.needs
        },
    }


def _bring_up_to_date(
    stage: Stage,
    config: PipelineConfig,
    inputs: dict[str, Any],
    files: dict[str, bytes],
    fresh: bool,
    tell: Tell,
) -> Record:
    folder, key = Path(config.output) / stage.name, key_of(inputs)
    found = None if fresh else read_record(folder)
    if found and is_finished(found, key, folder):
        tell(f"{stage.title}: skipped, nothing that it depends on has changed")
        return found | {"cached": True}
    cut_off = bool(found and found.get("key") == key and not found.get("finished"))
    resume = cut_off and stage.resumes
    tell(f"{stage.title}: {'goes on where it was cut off' if resume else 'runs'}")
    record: Record = {"name": stage.name, "title": stage.title, "needs": stage.needs}
    record |= {"key": key, "inputs": inputs, "finished": False}
    begin(folder, record, resume)
    started = time.perf_counter()
    done = {name: Path(config.output) / name for name in stage.needs}
    made = stage.work(Job(config, folder, done, files, resume, tell))
    record |= {
        "finished": True,
        "made": made.made,
        "n": made.n,
        "figure": made.figure,
        "numbers": made.numbers,
        "outputs": outputs_of(folder, made.outputs),
        "seconds": round(max(time.perf_counter() - started, made.seconds), 1),
    }
    write_record(folder, record)
    tell(f"{stage.title}: {made.made}, n = {made.n:,}; {made.figure}; {record['seconds']:.0f} s")
    return record | {"cached": False}


def _manifest(config: PipelineConfig, records: dict[str, Record]) -> dict[str, Any]:
    return {
        "version": __version__,
        "config": asdict(config),
        "stages": list(records.values()),
    }
