"""The app as programs see it: gradio_client over a real launch, on tiny models."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from detox.results import TABLE, Row
from tests.app.conftest import SAMPLING, Visit

DIALOGUE = "#Person1#: You are late again.\n#Person2#: I am sorry, the train stood still."
VERSIONS = ("before", "after")
SETTINGS = (SAMPLING.temperature, SAMPLING.top_p, SAMPLING.max_new_tokens, SAMPLING.seed)
OURS = {
    "/batch",
    "/batch_live",
    "/compare",
    "/evaluate",
    "/example",
    "/prompt",
    "/report",
    "/reports",
    "/status",
}


@pytest.fixture(scope="module")
def client(arena: Visit, tmp_path_factory: pytest.TempPathFactory) -> Client:
    arena.bench.wait(120)
    return Client(arena.url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


def compare(client: Client, dialogue: Any, *versions: str) -> Any:
    return client.predict(dialogue, *(versions or VERSIONS), *SETTINGS, api_name="/compare")


def test_every_event_has_a_name_and_its_parameters_too(client: Client, arena: Visit) -> None:
    info: Any = client.view_api(return_format="dict", print_info=False)
    assert set(info["named_endpoints"]) >= OURS
    names = [p["parameter_name"] for p in info["named_endpoints"]["/compare"]["parameters"]]
    assert names == ["dialogue", *VERSIONS, "temperature", "top_p", "max_new_tokens", "seed"]
    assert not info["unnamed_endpoints"]


def test_the_models_say_that_they_are_ready(client: Client) -> None:
    assert client.predict(api_name="/status") == {
        "ready": True,
        "share": 1.0,
        "text": "ready",
        "error": "",
    }


def test_two_summaries_with_their_scores(client: Client) -> None:
    page, data = compare(client, DIALOGUE)
    assert data["status"] == "done" and not data["beforehand"]
    assert [side["policy"] for side in data["sides"]] == list(VERSIONS)
    for side in data["sides"]:
        assert isinstance(side["reward"], float) and 0 <= side["toxicity"] <= 1
        assert side["words"] == len(side["text"].split())
    gap = data["sides"][1]["reward"] - data["sides"][0]["reward"]
    assert data["reward_diff"] == pytest.approx(gap)
    assert "reward difference" in page


def test_summaries_are_streamed(client: Client) -> None:
    job = client.submit(DIALOGUE, *VERSIONS, *SETTINGS, api_name="/compare")
    job.result(120)
    states = [data["status"] for _, data in job.outputs()]
    assert states[0] == "writing" and states[-1] == "done"


def test_the_same_seed_gives_the_same_summaries(client: Client) -> None:
    texts = [[s["text"] for s in compare(client, DIALOGUE)[1]["sides"]] for _ in range(2)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("dialogue", "sentence"),
    [
        ("", "The dialogue is empty"),
        (None, "The dialogue is empty"),
        ("word " * 50_000, "at most 40,000 are read"),
        ("\x00\x01\x02PNG\ufffd", "This is not plain text"),
    ],
    ids=["empty", "nothing", "50,000 words", "binary"],
)
def test_bad_dialogues_get_one_sentence(client: Client, dialogue: Any, sentence: str) -> None:
    with pytest.raises(AppError, match=sentence) as caught:
        compare(client, dialogue)
    assert "Traceback" not in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_policy_gets_one_sentence(client: Client) -> None:
    with pytest.raises(AppError, match="Unknown policy 'nope': choose one of before, after"):
        compare(client, DIALOGUE, "before", "nope")


def test_a_missing_seed_gets_one_sentence(client: Client) -> None:
    settings = (*SETTINGS[:3], None)
    with pytest.raises(AppError, match="Give a number for every sampling setting"):
        client.predict(DIALOGUE, *VERSIONS, *settings, api_name="/compare")


def test_an_example_comes_with_what_these_models_wrote_beforehand(
    client: Client, result_rows: list[Row]
) -> None:
    row = result_rows[0]
    *_, data = client.predict(row["id"], *VERSIONS, *SETTINGS, api_name="/example")
    assert data["beforehand"]
    assert [side["text"] for side in data["sides"]] == [row[v]["text"] for v in VERSIONS]


def test_an_unknown_example_gets_one_sentence(client: Client) -> None:
    with pytest.raises(AppError, match="There is no example 'nope'"):
        client.predict("nope", *VERSIONS, *SETTINGS, api_name="/example")


def test_the_batch_is_the_labs_table(client: Client) -> None:
    answer = client.predict(api_name="/batch")
    data = answer[-1]
    assert data["columns"] == list(TABLE) and len(data["rows"]) == 20
    assert data["groups"]["all"]["n"] == 24


def test_a_live_batch_ends_with_twenty_rows_and_a_file(client: Client) -> None:
    job = client.submit(*VERSIONS, api_name="/batch_live")
    answer = job.result(300)
    assert len(answer[-1]["rows"]) == 20
    path = next(part for part in answer if isinstance(part, str) and part.endswith(".csv"))
    with Path(path).open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) == 21


def test_a_prompt_and_its_answer(client: Client) -> None:
    asked = {"text": DIALOGUE, "version": "after", "template": "gist", "shots": 0}
    found = client.predict(**asked, sampling={"max_new_tokens": 6}, api_name="/prompt")
    assert found["setup"]["policy"] == "after"
    assert found["setup"]["sampling"]["max_new_tokens"] == 6
    assert DIALOGUE in found["prompt"] and found["prompt"].endswith("Gist:\n")
    assert 0 < found["tokens"] < found["context"] == 512
    assert found["answer"]["words"] == len(found["answer"]["text"].split())


def test_a_prompt_that_is_too_long_is_answered_by_its_count(client: Client) -> None:
    found = client.predict(text="so long " * 900, version="after", api_name="/prompt")
    assert found["answer"] is None
    assert f"{found['tokens']:,} tokens" in found["warning"] and "at most 512" in found["warning"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": "third"}, "Unknown policy"),
        ({"template": "haiku"}, "Unknown template"),
        ({"task": "rhyme"}, "Unknown task"),
        ({"shots": 99}, "shots must lie between 0 and 8."),
        ({"sampling": {"heat": 1}}, "Unknown setting"),
        ({"sampling": {"top_k": "many"}}, "Give a number for top_k."),
        ({"text": " "}, "The dialogue is empty"),
    ],
)
def test_a_setup_that_is_none(client: Client, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(**({"text": DIALOGUE} | changes), api_name="/prompt")


def test_an_evaluation_on_the_spot(client: Client) -> None:
    report, files = client.predict("before", "after", 5, 2, api_name="/evaluate")
    assert "10 paired responses to 5 dialogues (2 responses each)" in report
    assert [Path(file).name for file in files] == [
        "report.html",
        "card.png",
        "summary.json",
        "compare.csv",
        "compare.jsonl",
    ]
    with pytest.raises(AppError, match="greater than maximum value 60"):
        client.predict("before", "after", 500, 1, api_name="/evaluate")


def test_runs_can_be_read_as_they_grow(client: Client, arena: Visit) -> None:
    shipped, _ = client.predict("what ships", api_name="/report")
    assert "paired responses" in shipped
    folder = arena.settings.runs / "sft"
    folder.mkdir(parents=True)
    for steps in (3, 5):
        rows = [f'{{"step": {n}, "loss": 2.5, "seconds": 60}}\n' for n in range(1, steps + 1)]
        (folder / "metrics.jsonl").write_text("".join(rows))
        choices, *_ = client.predict("what ships", api_name="/reports")
        assert ["sft · training", "sft"] in choices["choices"]
        for page in (
            client.predict("sft", api_name="/report")[0],
            client.predict("sft", api_name="/reports")[1],
        ):
            assert f"{steps} steps so far" in page
    for name in ("../sft", "/etc"):
        with pytest.raises(AppError):
            client.predict(name, api_name="/report")
