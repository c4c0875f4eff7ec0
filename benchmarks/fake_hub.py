"""A folder that answers the calls of the Hub's API that keeping picks needs, and can fail."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete


class FakeHub:
    """Datasets as folders under ``root``. A commit is one rename: there whole, or not at all.

    ``fails`` raises what a call should fail with; it is given the call's name.
    """

    def __init__(self, root: Path, fails: Callable[[str], None] = lambda call: None) -> None:
        self.root, self.fails = root, fails
        self.pool = ThreadPoolExecutor(1)

    def create_repo(self, *, repo_id: str, private: bool, **_: Any) -> Any:
        self.fails("create_repo")
        assert private, "picks are nobody else's business"
        self._commits(repo_id).mkdir(parents=True, exist_ok=True)
        return SimpleNamespace(repo_id=repo_id)

    def create_commit(self, *, repo_id: str, operations: Sequence[Any], **_: Any) -> Any:
        self.fails("create_commit")
        commits = self._commits(repo_id)
        number = max((int(path.name) for path in commits.glob("[0-9]*")), default=0) + 1
        draft = commits / f"draft-{uuid.uuid4()}"
        draft.mkdir()
        for operation in operations:
            name = operation.path_in_repo.replace("/", "@")
            if isinstance(operation, CommitOperationAdd):
                with operation.as_file() as file:
                    (draft / name).write_bytes(file.read())
            elif isinstance(operation, CommitOperationDelete):
                (draft / f"{name}.deleted").touch()
        draft.replace(commits / f"{number:06d}")
        self.fails("after create_commit")
        return SimpleNamespace(oid=str(number))

    def list_repo_files(self, repo_id: str, **_: Any) -> list[str]:
        self.fails("list_repo_files")
        return sorted(self.files(repo_id))

    def hf_hub_download(self, repo_id: str, filename: str, *, local_dir: str, **_: Any) -> str:
        self.fails("hf_hub_download")
        place = Path(local_dir) / filename
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.files(repo_id)[filename], place)
        return os.fspath(place)

    def run_as_future(self, fn: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.pool.submit(fn, *args, **kwargs)

    def _commits(self, repo_id: str) -> Path:
        return self.root / repo_id

    def files(self, repo_id: str) -> dict[str, Path]:
        """Where each file of a dataset lies."""
        found: dict[str, Path] = {}
        for commit in sorted(self._commits(repo_id).glob("[0-9]*")):
            for path in commit.iterdir():
                name = path.name.replace("@", "/")
                if name.endswith(".deleted"):
                    found.pop(name.removesuffix(".deleted"), None)
                else:
                    found[name] = path
        return found
