"""``python -m detox``: every command on tiny models, and one sentence for whatever goes wrong."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from detox import cli
from detox.config import ClassifierConfig, PpoConfig, Sampling, SftConfig
from detox.models.sources import SHIPPED
from detox.pipeline.config import PipelineConfig
from detox.rewards import load_classifier_reward
from detox.runlog import read_metrics
from tests.conftest import WriteDialogues

Capture = pytest.CaptureFixture[str]
DIALOGUE = "#Person1#: You forgot the tickets again.\n#Person2#: I am sorry!"
SHORT = ["--max-new-tokens", "6"]


@pytest.fixture
def dialogue(tmp_path: Path) -> str:
    path = tmp_path / "dialogue.txt"
    path.write_text(DIALOGUE, encoding="utf-8")
    return str(path)


@pytest.fixture
def versions(tiny_t5: Path, tiny_causal: Path, tiny_classifier: Path) -> list[str]:
    """The options that name tiny models."""
    return [
        *("--before", str(tiny_t5)),
        *("--after", str(tiny_causal)),
        *("--classifier", str(tiny_classifier)),
    ]


def refused(capsys: Capture, *arguments: str) -> str:
    """The one sentence on standard error with which a command ends in exit code 2."""
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("detox: ") and said.err.endswith("\n")
    sentence = said.err.removeprefix("detox: ").rstrip("\n")
    assert "\n" not in sentence and "Traceback" not in sentence
    assert sentence.endswith(".")
    return sentence


# the whole of it


def test_from_a_base_model_to_a_comparison(
    tmp_path: Path,
    tiny_causal: Path,
    tiny_classifier: Path,
    dialogues_file: WriteDialogues,
    dialogue: str,
    capsys: Capture,
) -> None:
    data, sft, ppo, results = (
        str(dialogues_file()),
        *(str(tmp_path / name) for name in ("sft", "ppo", "results")),
    )
    lora = ["--lora-r", "2", "--lora-alpha", "4"]
    few = ["--steps", "2", "--batch-size", "2", *lora, "--data", data]
    assert cli.main(["sft", "--base", str(tiny_causal), "--output", sft, *few]) == 0
    judge = ["--reward", f"classifier:{tiny_classifier}"]
    tokens = ["--min-response-tokens", "2", "--max-response-tokens", "4"]
    tune = [
        "ppo",
        "--policy",
        sft,
        "--output",
        ppo,
        "--mini-batch-size",
        "2",
        *few,
        *judge,
        *tokens,
    ]
    assert cli.main(tune) == 0
    assert [row["step"] for row in read_metrics(Path(ppo))] == [1, 2]
    said = capsys.readouterr()
    assert f"saved the adapter to {sft}" in said.out and f"saved the adapter to {ppo}" in said.out
    versions = ["--before", sft, "--after", ppo, "--classifier", str(tiny_classifier), *SHORT]

    assert (
        cli.main(["evaluate", *versions, "--data", data, "--limit", "3", "--output", results]) == 0
    )
    said = capsys.readouterr()
    assert "3/6 responses\n6/6 responses\n" in said.out
    assert "all (n = 3): toxicity 0." in said.out and f"results in {results}" in said.out
    summary = json.loads((Path(results) / "summary.json").read_text())
    assert summary["groups"]["all"]["n"] == 3
    assert summary["sampling"]["max_new_tokens"] == 6

    assert cli.main(["compare", dialogue, *versions]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line for line in lines if line.startswith(("before: ", "after: "))]
    rewards = [float(line.split()[1]) for line in lines if line.startswith("  reward ")]
    assert len(rewards) == 2
    assert lines[-1].startswith("reward difference ")
    assert float(lines[-1].split()[-1]) == pytest.approx(rewards[1] - rewards[0], abs=0.011)

    assert cli.main([*tune, "--resume", "--steps", "3"]) == 0
    assert [row["step"] for row in read_metrics(Path(ppo))] == [1, 2, 3]


def test_the_dialogue_may_come_from_standard_input(
    versions: list[str], monkeypatch: pytest.MonkeyPatch, dialogue: str, capsys: Capture
) -> None:
    greedy = ["--temperature", "0", *SHORT]
    assert cli.main(["compare", dialogue, *versions, *greedy]) == 0
    expected = capsys.readouterr().out
    typed = io.TextIOWrapper(io.BytesIO(DIALOGUE.encode()))
    monkeypatch.setattr("sys.stdin", typed)
    assert cli.main(["compare", "-", *versions, *greedy]) == 0
    assert capsys.readouterr().out == expected


def test_scores_of_texts(tiny_classifier: Path, capsys: Capture) -> None:
    texts = ["#Person2# is sorry.", "idiot"]
    assert cli.main(["score", *texts, "--classifier", str(tiny_classifier)]) == 0
    scores = load_classifier_reward(str(tiny_classifier)).rate(texts)
    assert capsys.readouterr().out.splitlines() == [
        f"reward {float(reward):+.3f}  toxicity {float(toxicity):.1%}  {text}"
        for text, reward, toxicity in zip(texts, scores.reward, scores.toxicity, strict=True)
    ]


def test_an_unlabelled_classifier_with_a_choice(
    versions: list[str],
    tiny_classifier_unlabelled: Path,
    dialogue: str,
    capsys: Capture,
) -> None:
    greedy = [*versions[:4], "--temperature", "0", *SHORT]
    assert cli.main(["compare", dialogue, *greedy, *versions[4:]]) == 0
    expected = capsys.readouterr().out
    choice = ["--classifier", str(tiny_classifier_unlabelled), "--label", "LABEL_0"]
    assert cli.main(["compare", dialogue, *greedy, *choice]) == 0
    assert capsys.readouterr().out == expected


# what goes wrong


def test_a_dialogue_that_is_missing(capsys: Capture, tmp_path: Path) -> None:
    for name in ("nowhere.txt", str(tmp_path)):
        assert refused(capsys, "compare", name) == f"{name} cannot be read: check the path."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\xff", "is not a text file: save the dialogue as UTF-8 text."),
        (b"PK\x03\x04\x00\x00", "This is not plain text: paste the conversation as UTF-8 text."),
        (b"", "The dialogue is empty: paste a conversation with at least one turn."),
        (b" \n\t\n", "The dialogue is empty: paste a conversation with at least one turn."),
        (b"word " * 50_000, "The dialogue has 250,000 characters, at most 40,000 are read: cut it"),
    ],
)
def test_a_dialogue_that_is_none(
    content: bytes, sentence: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "dialogue.txt"
    path.write_bytes(content)
    # refused before any model is loaded, so no model is named here
    assert sentence in refused(capsys, "compare", str(path))


def test_a_dialogue_too_long_for_the_model(
    tmp_path: Path, versions: list[str], capsys: Capture
) -> None:
    path = tmp_path / "dialogue.txt"
    path.write_text("#Person1#: so it goes. " * 200)
    assert "'before' reads at most 512: shorten" in refused(capsys, "compare", str(path), *versions)


@pytest.mark.parametrize("name", ["no/such-model", "/nowhere/at/all"])
def test_a_model_that_is_unknown(
    name: str, dialogue: str, versions: list[str], capsys: Capture
) -> None:
    sentence = f"The model '{name}' is neither a local folder nor reachable on the Hugging Face hub"
    for arguments in (
        ["compare", dialogue, *versions, "--before", name],
        ["compare", dialogue, *versions, "--classifier", name],
        ["evaluate", *versions, "--after", name],
        ["score", "text", "--classifier", name],
        ["sft", "--base", name],
        ["ppo", "--policy", name],
    ):
        assert refused(capsys, *arguments).startswith(sentence)


def test_a_folder_without_a_model(
    tmp_path: Path, dialogue: str, versions: list[str], capsys: Capture
) -> None:
    said = refused(capsys, "compare", dialogue, *versions, "--before", str(tmp_path))
    assert said == f"The folder {tmp_path} does not hold a complete model: check its files."


def test_an_adapter_for_another_base(
    tiny_t5: Path,
    tiny_causal: Path,
    tmp_path: Path,
    dialogues_file: WriteDialogues,
    versions: list[str],
    dialogue: str,
    capsys: Capture,
) -> None:
    folder = str(tmp_path / "sft")
    one = ["--steps", "1", "--batch-size", "1", "--lora-r", "2", "--data", str(dialogues_file())]
    assert cli.main(["sft", "--base", str(tiny_causal), "--output", folder, *one]) == 0
    capsys.readouterr()
    sentence = f"was trained on '{tiny_causal}', not on '{tiny_t5}'"
    for arguments in (
        ["compare", dialogue, *versions, "--after", f"{tiny_t5}+{folder}"],
        ["ppo", "--policy", f"{tiny_t5}+{folder}"],
    ):
        assert sentence in refused(capsys, *arguments)
    assert "no-adapter: train one or check" in refused(
        capsys, "ppo", "--policy", f"{tiny_t5}+no-adapter"
    )


def test_a_classifier_without_a_label_for_not_hate(
    tiny_classifier_unlabelled: Path,
    tiny_causal: Path,
    tmp_path: Path,
    versions: list[str],
    dialogue: str,
    dialogues_file: WriteDialogues,
    capsys: Capture,
) -> None:
    name = str(tiny_classifier_unlabelled)
    output = ["--output", str(tmp_path / "out"), "--data", str(dialogues_file())]
    sentence = f"'{name}' has no label that means not-hate (its labels: LABEL_0, LABEL_1)"
    for arguments in (
        ["score", "text", "--classifier", name],
        ["compare", dialogue, *versions, "--classifier", name],
        ["evaluate", *versions, *output, "--classifier", name],
        ["ppo", "--policy", str(tiny_causal), *output, "--reward", f"classifier:{name}"],
    ):
        assert sentence in refused(capsys, *arguments)
    said = refused(capsys, "score", "text", "--classifier", name, "--label", "nothate")
    assert said == f"'{name}' has no label 'nothate': choose one of LABEL_0, LABEL_1."


def test_an_unknown_preset(capsys: Capture) -> None:
    for command in ("sft", "ppo"):
        said = refused(capsys, command, "--preset", "gpt")
        assert said == "Unknown preset 'gpt': choose one of embedded, flan-t5, notebook."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["compare", "FILE", "--temperature", "-1"], "temperature must lie between 0 and 5."),
        (["compare", "FILE", "--temperature", "nan"], "temperature must lie between 0 and 5."),
        (["compare", "FILE", "--top-p", "2"], "top_p must be above 0 and at most 1."),
        (["compare", "FILE", "--max-new-tokens", "0"], "max_new_tokens must lie between 1 and"),
        (["evaluate", "--seed", "-1"], "seed must be a whole number from 0 to 4294967295."),
        (["sft", "--steps", "0"], "steps must be at least 1."),
        (["sft", "--lr", "nan"], "lr must be above 0."),
        (["sft", "--save-every", "0"], "save_every must be at least 1."),
        (["sft", "--seed", "-1"], "seed must be a whole number from 0 to 4294967295."),
        (["sft", "--max-summary-tokens", "0"], "max_summary_tokens must be at least 1."),
        (["ppo", "--mini-batch-size", "5"], "batch_size must be a multiple of mini_batch_size."),
        (["ppo", "--ppo-epochs", "0"], "ppo_epochs must be at least 1."),
        (["ppo", "--save-every", "0"], "save_every must be at least 1."),
        (["ppo", "--seed", "-1"], "seed must be a whole number from 0 to 4294967295."),
        (["ppo", "--kl-target", "0"], "kl_target must be above 0."),
        (["ppo", "--kl-horizon", "-1"], "kl_horizon must be 0 (off) or a positive number."),
        (["ppo", "--max-response-tokens", "8"], "min_response_tokens must be at least 1 and at"),
        (["ppo", "--lora-r", "0"], "lora r must be at least 1."),
        (["classifier", "--epochs", "0"], "epochs must be at least 1."),
        (["classifier", "--seed", "-1"], "seed must be a whole number from 0 to 4294967295."),
        (["evaluate", "--split", "exam"], "Unknown split 'exam': choose one of train, valid"),
        (["evaluate", "--limit", "-3"], "--limit must be 0 (all) or a positive number."),
        (["evaluate", "--samples", "0"], "--samples must be at least 1."),
        (["evaluate", "--num-beams", "0"], "num_beams must lie between 1 and 16."),
        (["sft", "--method", "prefix"], "method must be lora or full."),
        (["sft", "--references", "two"], "references must be one or all."),
        (["sft", "--patience", "2"], "patience must be 0 (never stop early) or a number of"),
        (["sft", "--hold-out", "1"], "hold_out must be at least 0 and below 1."),
        (["sft", "--task", "rhyme"], "Unknown task 'rhyme': choose one of summarize, sent"),
    ],
)
def test_a_number_that_is_impossible(
    arguments: list[str], sentence: str, dialogue: str, capsys: Capture
) -> None:
    given = [dialogue if argument == "FILE" else argument for argument in arguments]
    assert sentence in refused(capsys, *given)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sft", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["ppo", "--lr", "fast"], "argument --lr: invalid float value: 'fast'"),
        (["fly"], "invalid choice: 'fly'"),
        (["compare"], "the following arguments are required: dialogue"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_command_line_that_is_none(arguments: list[str], sentence: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "no-such.jsonl"], "There is no file no-such.jsonl: check the path."),
        (["--data", "nobody/nothing"], "The dialogues 'nobody/nothing' are neither a file nor"),
        (["--reward", "robot"], "Unknown reward 'robot': use classifier, classifier:MODEL"),
        (["--reward", "preference:no/folder"], "There is no reward model in no/folder: train one"),
        (["--lora-targets", "zz"], "The adapter's targets 'zz' do not exist in this model"),
        (["--resume"], "to resume from: start without it."),
    ],
)
def test_a_run_that_lacks_something(
    arguments: list[str],
    sentence: str,
    tiny_causal: Path,
    tiny_classifier: Path,
    dialogues_file: WriteDialogues,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    defaults = ["--data", str(dialogues_file()), "--reward", f"classifier:{tiny_classifier}"]
    options = ["--policy", str(tiny_causal), "--output", str(tmp_path / "ppo"), *defaults]
    assert sentence in refused(capsys, "ppo", *options, *arguments)


def test_a_folder_that_cannot_be_written(
    tiny_causal: Path,
    tiny_classifier: Path,
    dialogues_file: WriteDialogues,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    (tmp_path / "file").touch()
    options = ["--output", str(tmp_path / "file" / "run"), "--data", str(dialogues_file())]
    reward = ["--reward", f"classifier:{tiny_classifier}"]
    said = refused(capsys, "ppo", "--policy", str(tiny_causal), *options, *reward)
    assert said.startswith("The run cannot be logged in ")
    said = refused(capsys, "sft", "--base", str(tiny_causal), *options)
    assert said.startswith("The run cannot be logged in ")


def test_an_interrupted_run_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "find_preset", interrupt)
    assert cli.main(["ppo"]) == 130
    assert "--resume" in capsys.readouterr().out


# the command line and the settings


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (["sft"], SftConfig),
        (["ppo"], PpoConfig),
        (["classifier"], ClassifierConfig),
        (["compare", "-"], Sampling),
        (["evaluate"], Sampling),
        (["pipeline", "p.yaml"], PipelineConfig),
    ],
)
def test_every_setting_is_an_option(command: list[str], kind: type) -> None:
    for field in fields(kind):
        option = "--" + field.name.replace("_", "-")
        arguments = cli.parser().parse_args([*command, option, "7"])
        assert getattr(arguments, field.name) == type(field.default)("7")
        chosen = cli.parser().parse_args(command)
        assert not hasattr(chosen, field.name)  # so that a preset's value is kept


def test_every_command_explains_itself(capsys: Capture) -> None:
    commands = ("compare", "prompt", "score", "evaluate", "classifier", "sft", "ppo", "interpolate")
    commands += ("quality", "pipeline", "pipeline-data")
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            cli.main([command, "--help"])
        assert ended.value.code == 0
        assert f"detox {command}" in capsys.readouterr().out


def test_options_replace_what_a_preset_says() -> None:
    arguments = cli.parser().parse_args(["ppo", "--preset", "notebook", "--lr", "0.5"])
    config = cli.chosen_options(arguments, cli.find_preset(arguments.preset).ppo)
    assert config.lr == 0.5
    assert config.steps == 10 and config.scope == "pair"  # the notebook's


def test_the_shipped_versions_are_the_default() -> None:
    arguments = cli.parser().parse_args(["compare", "-"])
    assert arguments.before in SHIPPED and arguments.after in SHIPPED


def test_the_package_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "detox", "compare", "nowhere.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "detox: nowhere.txt cannot be read: check the path.\n"
