"""The pipeline on tiny models: from end to end, from the cache, and after a cut."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fsspec
import pytest
import torch

from detox import cli, processes
from detox.errors import UserError
from detox.models import read_lineage
from detox.pipeline import work
from detox.pipeline.config import PipelineConfig
from detox.pipeline.formats import jsonl, parse_predictions, parse_preferences, parse_prompts
from detox.pipeline.graph import PLACES, draw_graph
from detox.pipeline.run import MANIFEST, run_pipeline
from detox.pipeline.side_by_side import preferred
from detox.pipeline.stages import STAGES
from detox.report import read_report
from detox.results import read_results
from detox.runlog import read_metrics
from tests import tiny

Row = dict[str, Any]
NAMES = [stage.name for stage in STAGES]
PROMPTS = [row["dialogue"] + "\nSummary:\n" for row in tiny.dialogsum_rows(18)]
EVAL = "memory://pipeline-tests/eval.jsonl"


def prompt_file(prompts: list[str]) -> bytes:
    return jsonl([{"input_text": prompt} for prompt in prompts])


def preference_file(prompts: list[str]) -> bytes:
    """Two preferences a prompt; the gentle candidate stands in either slot."""
    rows = []
    for number, prompt in enumerate(prompts):
        for version in (0, 1):
            texts = [f"#Person2# mocks {number}.", f"#Person2# apologizes {number}."]
            choice = (number + version) % 2
            pair = texts if choice else texts[::-1]
            rows.append(
                {
                    "input_text": prompt,
                    "candidate_0": f"{pair[0]} {version}",
                    "candidate_1": f"{pair[1]} {version}",
                    "choice": choice,
                }
            )
    return jsonl(rows)


@pytest.fixture(scope="module")
def given(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_causal: Path,
    tiny_classifier: Path,
    tiny_reward_model: Path,
) -> PipelineConfig:
    """Settings of a small run; its evaluation prompts lie at a URL."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "preferences.jsonl").write_bytes(preference_file(PROMPTS[:10]))
    (folder / "prompts.jsonl").write_bytes(prompt_file(PROMPTS[:12]))
    with fsspec.open(EVAL, "wb") as file:
        file.write(prompt_file(PROMPTS[12:]))
    return PipelineConfig(
        preference_dataset=str(folder / "preferences.jsonl"),
        prompt_dataset=str(folder / "prompts.jsonl"),
        eval_dataset=EVAL,
        large_model_reference=str(tiny_causal),
        reward_model_base=str(tiny_reward_model),
        classifier=str(tiny_classifier),
        instruction="Summarize gently.",
        model_display_name="<b>mine</b>",
        reward_model_train_steps=8,
        reinforcement_learning_train_steps=4,
        batch_size=4,
        max_response_tokens=4,
        save_every=1,
        held_out=0.3,
        output=str(folder / "out"),
    )


@pytest.fixture(scope="module")
def done(given: PipelineConfig) -> tuple[PipelineConfig, Row]:
    """The settings, and the manifest, of a run from end to end."""
    manifest = run_pipeline(
        replace(given, prediction_output="memory://pipeline-tests/out"), tell=lambda line: None
    )
    return given, manifest


@pytest.fixture
def again(done: tuple[PipelineConfig, Row], tmp_path: Path) -> PipelineConfig:
    """The settings of ``done``, with a copy of all that it left behind."""
    config, _ = done
    shutil.copytree(config.output, tmp_path / "out")
    return replace(config, output=str(tmp_path / "out"))


def ran(manifest: Row) -> list[str]:
    return [stage["name"] for stage in manifest["stages"] if not stage["cached"]]


def quiet(line: str) -> None:
    """Hears nothing."""


# from end to end


def test_every_stage_says_what_it_made(done: tuple[PipelineConfig, Row]) -> None:
    config, manifest = done
    folder = Path(config.output)
    on_disk = json.loads((folder / MANIFEST).read_text())
    assert [stage["name"] for stage in on_disk["stages"]] == NAMES == ran(manifest)
    stages = {stage["name"]: stage for stage in manifest["stages"]}
    assert stages["preferences"]["n"] == 20
    parts = stages["preferences"]["numbers"]
    assert parts["train"] + parts["held_out"] == 20 and parts["held_out"] > 0
    assert stages["prompts"]["n"] == 12 and stages["eval_prompts"]["n"] == 6
    assert stages["bulk_inference"]["n"] == 12
    assert len({stage["key"] for stage in manifest["stages"]}) == len(NAMES)
    for stage in manifest["stages"]:
        assert stage["seconds"] >= 0 and stage["figure"] and stage["made"]
        for name in stage["outputs"]:
            assert (folder / stage["name"] / name).is_file()


def test_prompts_are_whole(done: tuple[PipelineConfig, Row]) -> None:
    folder = Path(done[0].output)
    found = parse_prompts((folder / "prompts" / work.ROWS).read_bytes(), "")
    assert found == [f"Summarize gently.\n\n{prompt}" for prompt in PROMPTS[:12]]


def test_no_prompt_is_on_both_sides(done: tuple[PipelineConfig, Row]) -> None:
    folder = Path(done[0].output) / "preferences"
    train, held_out = (
        [row.prompt for row in parse_preferences((folder / name).read_bytes(), "")]
        for name in (work.TRAIN, work.HELD_OUT)
    )
    assert not set(train) & set(held_out)
    assert all(train.count(prompt) == 2 for prompt in train)
    assert all(held_out.count(prompt) == 2 for prompt in held_out)


def test_the_reward_model_is_logged_and_measured(
    done: tuple[PipelineConfig, Row], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(done[0].output) / "reward_model"
    rows = read_metrics(folder)
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 9))
    assert all(0 <= row["accuracy"] <= 1 for row in rows if "loss" in row)
    held_out = [row["held_out_accuracy"] for row in rows if "held_out_accuracy" in row]
    assert len(held_out) == 8
    lineage = read_lineage(folder)
    assert lineage["steps"] == 8
    assert lineage["accuracy"]["held_out"] == pytest.approx(held_out[-1], abs=1e-4)
    assert list((folder / "tensorboard").glob("events.*"))
    assert cli.main(["learning", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "accuracy (" in said and "held-out accuracy (" in said and "validation loss (" in said


def test_the_policy_was_tuned_against_it_on_the_prompts(done: tuple[PipelineConfig, Row]) -> None:
    config, _ = done
    folder = Path(config.output) / "reinforcement_learning"
    lineage = read_lineage(folder)
    assert lineage["reward"]["name"] == str(Path(config.output) / "reward_model")
    assert lineage["config"]["kl_coef"] == 0.1 and lineage["config"]["data"] == "rows.jsonl"
    steps = read_metrics(folder)
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    assert steps[0]["objective/kl"] == 0.0
    assert {row["objective/kl_coef"] for row in steps} == {0.1}  # constant


def test_both_policies_answer_every_prompt(done: tuple[PipelineConfig, Row]) -> None:
    folder = Path(done[0].output) / "bulk_inference"
    wanted = [f"Summarize gently.\n\n{prompt}" for prompt in PROMPTS[12:]]
    for name in (work.REFERENCE, work.TUNED):
        content = (folder / name).read_bytes()
        assert [prompt for prompt, _ in parse_predictions(content, name)] == wanted
        with fsspec.open(f"memory://pipeline-tests/out/{name}", "rb") as file:
            assert file.read() == content


def test_the_evaluation_is_of_these_answers(done: tuple[PipelineConfig, Row]) -> None:
    folder = Path(done[0].output)
    rows, about = read_results(folder / "evaluation")
    content = (folder / "bulk_inference" / work.TUNED).read_bytes()
    answers = parse_predictions(content, "")
    assert [(row["prompt"], row["after"]["text"]) for row in rows] == answers
    assert list(about["groups"]) == ["all"]  # nobody said who is rude: there are no others
    assert about["after"]["policy"] == "<b>mine</b>"
    wins = [
        0.5
        + 0.5
        * (
            (row["after"]["preference"] > row["before"]["preference"])
            - (row["after"]["preference"] < row["before"]["preference"])
        )
        for row in rows
    ]
    # scores are rounded in the rows: what hung in the balance may look like a tie there
    assert about["pipeline"]["win_rate"]["mean"] == pytest.approx(sum(wins) / 6, abs=0.17)
    assert about["pipeline"]["trained_on"] == 0


def test_the_report_shows_it_all(done: tuple[PipelineConfig, Row]) -> None:
    folder = Path(done[0].output)
    page = (folder / "report.html").read_text(encoding="utf-8")
    graph = page[page.index('<svg role="img" aria-label="The stages') :].split("</svg>")[0]
    for stage in STAGES:
        assert f">{stage.title}</text>" in graph
        assert f"<tr><th>{stage.title}</th>" in page
    assert "held-out accuracy " in graph and "run · " in graph and "cached" not in graph
    assert "Is it learning?" in page and "<b>Reward model:</b> accuracy (" in page
    assert "the held-out judge is the hate classifier" in page
    assert "None of the evaluation prompts was trained on." in page
    assert "&lt;b&gt;mine&lt;/b&gt;" in page and "<b>mine</b>" not in page
    assert "Beside the lab" not in page
    # and where the app looks for it
    assert read_report(folder / "evaluation") in page


# the cache


def test_nothing_changed_nothing_runs(
    again: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("this was done already")

    for name in ("train_ppo", "fit_reward_model", "generate", "load_policy", "compare_predictions"):
        monkeypatch.setattr(work, name, fail)
    told: list[str] = []
    manifest = run_pipeline(again, tell=told.append)
    assert ran(manifest) == []
    assert [line for line in told if ": skipped, " in line] == told[:-1]
    assert len(told) == len(NAMES) + 1
    graph = (Path(again.output) / "report.html").read_text().split("</svg>")[0]
    assert graph.count("cached · ") == len(NAMES) and "run · " not in graph


LATE = ["reinforcement_learning", "bulk_inference", "evaluation"]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"kl_coeff": 0.2}, LATE),
        ({"temperature": 1.0}, ["bulk_inference", "evaluation"]),
        ({"model_display_name": "other"}, ["evaluation"]),
        ({"save_every": 2}, []),
    ],
)
def test_what_changed_runs_with_all_after_it(
    again: PipelineConfig, changes: Row, wanted: list[str]
) -> None:
    assert ran(run_pipeline(replace(again, **changes), tell=quiet)) == wanted


def test_data_is_known_by_its_content(again: PipelineConfig, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.jsonl"
    moved.write_bytes(prompt_file(PROMPTS[12:]))
    assert ran(run_pipeline(replace(again, eval_dataset=str(moved)), tell=quiet)) == []
    moved.write_bytes(prompt_file([*PROMPTS[13:], PROMPTS[0]]))
    manifest = run_pipeline(replace(again, eval_dataset=str(moved)), tell=quiet)
    assert ran(manifest) == ["eval_prompts", "bulk_inference", "evaluation"]
    assert manifest["stages"][-1]["numbers"]["trained_on"] == 1
    page = (Path(again.output) / "report.html").read_text()
    assert "1 of the 6 evaluation prompts were also trained on" in page


def test_a_damaged_file_is_made_again(again: PipelineConfig) -> None:
    path = Path(again.output) / "bulk_inference" / work.TUNED
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    # it comes out the same, so that what stands on it need not be made again
    assert ran(run_pipeline(again, tell=quiet)) == ["bulk_inference"]
    assert path.read_bytes() == whole


def test_fresh_runs_all(again: PipelineConfig) -> None:
    assert ran(run_pipeline(again, fresh=True, tell=quiet)) == NAMES


def test_a_model_is_known_by_its_weights(
    again: PipelineConfig, tiny_classifier: Path, tiny_classifier_swapped: Path, tmp_path: Path
) -> None:
    judge = tmp_path / "judge"
    shutil.copytree(tiny_classifier, judge)
    config = replace(again, classifier=str(judge))
    assert ran(run_pipeline(config, tell=quiet)) == ["evaluation"]
    assert ran(run_pipeline(config, tell=quiet)) == []
    shutil.copytree(tiny_classifier_swapped, judge, dirs_exist_ok=True)
    assert ran(run_pipeline(config, tell=quiet)) == ["evaluation"]


# after a cut


def cut_at(start: str) -> Callable[[str], None]:
    def hear(line: str) -> None:
        if line.startswith(start):
            raise KeyboardInterrupt

    return hear


def test_a_cut_run_goes_on(done: tuple[PipelineConfig, Row], tmp_path: Path) -> None:
    config = replace(done[0], output=str(tmp_path / "out"))
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(config, tell=cut_at("step 3/4  reward"))
    folder = tmp_path / "out" / "reinforcement_learning"
    assert not (folder / "adapter_model.safetensors").exists()
    told: list[str] = []
    manifest = run_pipeline(config, tell=told.append)
    assert ran(manifest) == LATE
    assert "Reinforcement learning: goes on where it was cut off" in told
    steps = [line.split()[1] for line in told if line.startswith("step ")]
    assert steps == ["3/4", "4/4"]  # two were in the checkpoint
    assert [row["step"] for row in read_metrics(folder)] == [1, 2, 3, 4]
    # and ends where a run that was never cut ends
    whole = Path(done[0].output) / "reinforcement_learning" / "adapter_model.safetensors"
    assert (folder / whole.name).read_bytes() == whole.read_bytes()


def test_a_cut_reward_model_starts_over(done: tuple[PipelineConfig, Row], tmp_path: Path) -> None:
    config = replace(done[0], output=str(tmp_path / "out"))
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(config, tell=cut_at("step 5/8  held out"))
    told: list[str] = []

    def hear(line: str) -> None:
        told.append(line)
        cut_at("Reinforcement")(line)

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(config, tell=hear)
    assert [line for line in told if "runs" in line] == [
        "Reward model: runs",
        "Reinforcement learning: runs",
    ]
    rows = read_metrics(tmp_path / "out" / "reward_model")
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 9))
    whole = Path(done[0].output) / "reward_model" / "adapter_model.safetensors"
    assert (tmp_path / "out" / "reward_model" / whole.name).read_bytes() == whole.read_bytes()


def test_a_cut_run_with_other_settings_starts_anew(again: PipelineConfig) -> None:
    config = replace(again, kl_coeff=0.3)
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(config, tell=cut_at("step 3/4  reward"))
    told: list[str] = []
    run_pipeline(replace(config, kl_coeff=0.4), tell=told.append)
    assert "Reinforcement learning: runs" in told
    steps = [line.split()[1] for line in told if line.startswith("step ")]
    assert steps == ["1/4", "2/4", "3/4", "4/4"]


# what is refused


def test_several_processes_are_refused(
    given: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(UserError, match=r"^The pipeline runs in one process: start it without 'ac"):
        run_pipeline(given, tell=quiet)


def test_somebody_elses_folder_is_left_alone(given: PipelineConfig, tmp_path: Path) -> None:
    mine = tmp_path / "prompts" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"prompts is not a pipeline's folder: choose another outp"):
        run_pipeline(replace(given, output=str(tmp_path)), tell=quiet)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("dataset", "content", "sentence"),
    [
        (
            "preference_dataset",
            preference_file(PROMPTS[:1]),
            r"has 1 different prompts, too few to learn from some and measure on others",
        ),
        (
            "preference_dataset",
            prompt_file(PROMPTS),
            r"^Line 1 of .*: 'candidate_0' must be a text",
        ),
        ("prompt_dataset", b"{}\n", r"^Line 1 of .*file\.jsonl: 'input_text' must be a text"),
        (
            "eval_dataset",
            prompt_file(["short", "long " * 1100]),
            r"^Row 2 of .*file\.jsonl: The prompt has .* tokens and 'reference' reads at mo",
        ),
    ],
)
def test_unusable_data_is_refused_before_any_training(
    given: PipelineConfig,
    tmp_path: Path,
    dataset: str,
    content: bytes,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "fit_reward_model", lambda *_: pytest.fail("it was trained"))
    path = tmp_path / "file.jsonl"
    path.write_bytes(content)
    changes: Row = {dataset: str(path), "output": str(tmp_path / "out")}
    with pytest.raises(UserError, match=sentence):
        run_pipeline(replace(given, **changes), tell=quiet)


def test_equal_candidates_say_nothing(given: PipelineConfig, tmp_path: Path) -> None:
    equal = {"input_text": "p", "candidate_0": "same", "candidate_1": " same\n", "choice": 0}
    job = work.Job(
        given,
        tmp_path,
        {},
        {"preference_dataset": preference_file(PROMPTS[:10]) + jsonl([equal])},
        False,
        quiet,
    )
    made = work.split_preferences(job)
    assert made.n == 20 and made.made == "preferences, 1 of equal texts left out"


# parts


class Lengths:
    """Prefers the longer response."""

    name = "lengths"

    def score(self, prompts: list[str], responses: list[str]) -> torch.Tensor:
        return torch.tensor([float(len(text)) for text in responses])

    def describe(self) -> Row:
        return {"name": self.name}


def pair(id: str, before: str, after: str) -> Row:
    sides = {
        side: {"text": text, "words": len(text.split())}
        for side, text in (("before", before), ("after", after))
    }
    return {"id": id, "prompt": "p", **sides}


def test_wins_by_hand() -> None:
    rows = [pair("a", "x", "xx"), pair("b", "x", "y"), pair("c", "xxx", "x"), pair("d", "x", "xy")]
    found = preferred(rows, Lengths())
    assert found["win_rate"]["mean"] == (1 + 0.5 + 0 + 1) / 4
    assert found["win_rate"]["low"] < 0.5 < found["win_rate"]["high"]
    assert found["win_rate"]["verdict"] == "inconclusive"
    assert found["length_correlation"] is None  # a word each: nothing varies
    assert rows[0]["after"]["preference"] == 2.0
    won = preferred([pair(str(n), "x", "x y") for n in range(5)], Lengths())
    assert won["win_rate"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "verdict": "higher"}
    assert won["length_correlation"] == 1.0


def test_the_graph_is_a_drawing_of_every_stage() -> None:
    records = {
        name: {
            "title": f"<{number}>",
            "cached": number % 2 == 0,
            "seconds": 3.0 if number else 7000,
            "n": 1000 + number,
            "made": "something " * 9,
            "figure": "accuracy 75.0%",
        }
        for number, name in enumerate(NAMES)
    }
    drawn = ElementTree.fromstring(draw_graph(records))
    texts = [element.text or "" for element in drawn.iter() if element.tag.endswith("text")]
    assert texts[0] == "<0>" and texts[1] == "cached · 1.9 h · n = 1,000"
    assert texts[5] == "run · 3 s · n = 1,001"
    assert texts[2].endswith("…") and len(texts[2]) < 40
    assert {text for text in texts if text.startswith("<")} == {f"<{n}>" for n in range(len(NAMES))}
    assert set(PLACES) == set(NAMES)
    assert "#" not in draw_graph(records).replace("url(#da-tip)", "")  # colours are the page's


def test_the_command(
    again: PipelineConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        name: value
        for name, value in vars(again).items()
        if value != getattr(PipelineConfig(), name) and name != "output"
    }
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    options = ["pipeline", str(path), "--output", again.output]
    assert cli.main([*options, "--model-display-name", "other"]) == 0
    said = capsys.readouterr().out
    assert "Bulk inference: skipped" in said and "Evaluation: runs" in said
    assert f"report in {Path(again.output) / 'report.html'}" in said
    path.write_text("kl: 1\n")
    assert cli.main(options) == 2
    assert capsys.readouterr().err.startswith(f"detox: {path} has unknown settings (kl): known ar")
