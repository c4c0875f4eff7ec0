"""An exported folder on the hub: its card is read there, and problems are one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, errors
from huggingface_hub.errors import HfHubHTTPError

from detox.errors import UserError
from labeling import cli
from labeling.export import Filters, export, hub, push_to_hub
from labeling.store import Store
from tests.labeling.conftest import Judge

REPO = "ada/preferences"


class FakeHub:
    """``HfApi`` as far as a push needs it; ``error`` is raised by the call named ``at``."""

    def __init__(self, private: bool = True, at: str = "", error: Exception = Exception()) -> None:
        self.private, self.at, self.error = private, at, error
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def _called(self, name: str, arguments: dict[str, Any]) -> None:
        self.calls.append((name, arguments))
        if name == self.at:
            raise self.error

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self._called("create_repo", {"repo_id": repo_id, **options})

    def repo_info(self, repo_id: str, **options: Any) -> FakeHub:
        self._called("repo_info", {"repo_id": repo_id, **options})
        return self

    def upload_folder(self, **options: Any) -> None:
        files = sorted(
            path.relative_to(options["folder_path"]).as_posix()
            for path in Path(options["folder_path"]).rglob("*")
            if path.is_file()
        )
        self._called("upload_folder", {**options, "files": files})


@pytest.fixture
def folder(store: Store, judge: Judge, tmp_path: Path) -> Path:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "after", "after"])
    export(store, "folder", tmp_path / "dataset", Filters(margin=True))
    return tmp_path / "dataset"


def test_a_folder_is_pushed_whole_and_private(folder: Path) -> None:
    fake = FakeHub()
    address = push_to_hub(folder, REPO, hub=fake)
    assert address == "https://huggingface.co/datasets/ada/preferences"
    create, _, upload = fake.calls
    assert create == (
        "create_repo",
        {"repo_id": REPO, "repo_type": "dataset", "private": True, "exist_ok": True},
    )
    assert upload[1]["repo_id"] == REPO and upload[1]["repo_type"] == "dataset"
    assert {"README.md", "manifest.json", "picks/train.parquet", "preferences/test.parquet"} <= set(
        upload[1]["files"]
    )
    # A split that is gone must not stay there.
    assert upload[1]["delete_patterns"] == ["picks/*", "preferences/*"]


def test_nothing_private_goes_into_a_public_repository(folder: Path) -> None:
    fake = FakeHub(private=False)
    with pytest.raises(UserError, match="is public and nothing was uploaded"):
        push_to_hub(folder, REPO, hub=fake)
    assert [name for name, _ in fake.calls] == ["create_repo", "repo_info"]
    push_to_hub(folder, REPO, private=False, hub=fake)
    assert fake.calls[-1][0] == "upload_folder"
    assert fake.calls[2][1]["private"] is False


class _Response:
    headers: dict[str, str] = {}  # noqa: RUF012
    request = None

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


def _status(code: int) -> HfHubHTTPError:
    response: Any = _Response(code)
    return HfHubHTTPError(f"{code} Client Error\n\nlong story", response=response)


@pytest.mark.parametrize("at", ["create_repo", "repo_info", "upload_folder"])
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.LocalTokenNotFoundError("no token"), "run `hf auth login` or set HF_TOKEN"),
        (_status(401), "run `hf auth login` or set HF_TOKEN"),
        (_status(403), "Your token may not write to 'ada/preferences'"),
        (_status(404), "no owner of 'ada/preferences' that you may write for"),
        (_status(500), r"refused 'ada/preferences' \(status 500\): wait a moment"),
        (errors.OfflineModeIsEnabled("offline"), "unset it and push again"),
        (ConnectionError("no route"), "cannot be reached: check the network"),
        (hub.HTTPError("no route"), "cannot be reached: check the network"),
        (TimeoutError("slow"), "cannot be reached: check the network"),
        (errors.HFValidationError("bad name"), "write it like OWNER/NAME"),
        (PermissionError(13, "Permission denied"), "cannot be read .Permission denied"),
    ],
)
def test_a_problem_of_the_hub_is_one_sentence_that_says_what_to_do(
    folder: Path, at: str, error: Exception, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        push_to_hub(folder, REPO, hub=FakeHub(at=at, error=error))
    assert "\n" not in str(caught.value) and "long story" not in str(caught.value)
    assert f"The dataset is in '{folder}'." in str(caught.value)


@pytest.mark.parametrize("name", ["preferences", "a/b/c", "", "/x", "a/", "a b/c", "../x"])
def test_a_name_has_an_owner(folder: Path, name: str) -> None:
    fake = FakeHub()
    with pytest.raises(UserError, match="write it like OWNER/NAME"):
        push_to_hub(folder, name, hub=fake)
    assert fake.calls == []


def test_only_exports_are_pushed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not an exported folder"):
        push_to_hub(tmp_path, REPO, hub=FakeHub())


def test_a_bug_is_not_taken_for_a_problem_of_the_hub(folder: Path) -> None:
    with pytest.raises(TypeError):
        push_to_hub(folder, REPO, hub=FakeHub(at="create_repo", error=TypeError("ours")))


def test_the_command_pushes(
    store: Store,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake = FakeHub()
    monkeypatch.setattr(hub, "_hub", lambda: fake)
    common = ["--db", str(store.path), "--out", str(folder), "--push", REPO]
    assert cli.main(["export", "--format", "folder", *common]) == 0
    assert "Uploaded to https://huggingface.co/datasets/ada/preferences" in capsys.readouterr().out
    assert fake.calls[0][1]["private"] is True
    assert cli.main(["export", "--format", "folder", "--no-private", *common]) == 0
    assert fake.calls[3][1]["private"] is False
    assert cli.main(["export", *common]) == 2
    assert "Only a folder can be pushed" in capsys.readouterr().err
    assert cli.main(["export", "--format", "folder", *common[:-1], "x"]) == 2
    assert "OWNER/NAME" in capsys.readouterr().err


def test_the_real_client_offline_gives_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="The dataset is in"):
        push_to_hub(folder, REPO)


def test_the_card_is_read_by_the_hubs_own_parser(folder: Path) -> None:
    card = DatasetCard((folder / "README.md").read_text("utf-8"))
    data = card.data.to_dict()
    configs = {config["config_name"]: config for config in data["configs"]}
    assert list(configs) == ["preferences", "picks"]
    assert configs["preferences"]["default"] is True
    for config in configs.values():
        for part in config["data_files"]:
            assert (folder / part["path"]).is_file()
            assert Path(part["path"]).stem == part["split"]
    assert data["size_categories"] == "n<1K"
    assert "summarization" in data["task_categories"]


def test_the_card_says_what_is_in_it(folder: Path) -> None:
    card = (folder / "README.md").read_text("utf-8")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert "4 rows of `prompt`, `chosen`, `rejected`, `margin`" in card
    assert "one row for each pick" in card and "from the strength of the pick" in card
    assert "all 6 picks on 6 pairs" in card
    assert "Left out of `preferences`: 1 tie, 1 both bad." in card
    assert "6 prompts, 1 labelers (pseudonyms)" in card
    assert "none to measure yet" in card
    assert manifest["snapshot"] in card
    assert manifest["path"] == "dataset"
    assert str(folder.parent) not in card + json.dumps(manifest)
