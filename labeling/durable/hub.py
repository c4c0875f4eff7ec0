"""The part of the Hub's API that keeping and restoring need; tests have another one."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, cast

from detox.errors import UserError

PICKS, SNAPSHOTS = "picks/", "snapshots/"
REPO_TYPE = "dataset"
_log = logging.getLogger("detox")
# of a disk, not of a network
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


class Hub(Protocol):
    """As ``huggingface_hub.HfApi``, whose documentation tells what each call does."""

    def create_repo(self, **options: Any) -> Any:
        """Makes a repository; with ``exist_ok`` it may be there."""

    def create_commit(self, **options: Any) -> Any:
        """All ``operations``, or none of them."""

    def list_repo_files(self, repo_id: str, **options: Any) -> Iterable[str]:
        """The paths in a repository."""

    def hf_hub_download(self, repo_id: str, filename: str, **options: Any) -> str:
        """Where a file lies once it is on this disk."""

    def run_as_future(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls ``fn`` in the background, one call after the other."""


def the_hub() -> Hub:
    """The real one, with the token of the environment (``HF_TOKEN``)."""
    # takes a second, and only those who keep picks there need it
    from huggingface_hub import HfApi

    return cast(Hub, HfApi(library_name="detox-arena"))


def kept_beside(database: Path) -> Path:
    """The folder where it is noted which picks of ``database`` are in the dataset."""
    return database.with_name(database.name + ".kept")


def check_name(repo: str) -> None:
    """Raises ``UserError`` for a name that no dataset can have."""
    if not _NAME.fullmatch(repo) or ".." in repo:
        raise UserError(f"'{repo}' is no dataset's name: write it as OWNER/NAME.")


def explained(repo: str, error: Exception) -> UserError:
    """A sentence about a failed call to the Hub; what is a mistake of ours goes to the log too."""
    if isinstance(error, OSError) and error.errno in _DISK:
        return UserError(
            f"The disk does not take what has to be noted about '{repo}' ({error.strerror}): free "
            "some space, or make its folder writable."
        )
    from httpx import HTTPError
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, OSError | HTTPError | HfHubHTTPError):
        _log.error("saving to '%s' or reading from it failed", repo, exc_info=error)

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, HfHubHTTPError) and status in (401, 403):
        return UserError(
            f"The Hub does not let us into the dataset '{repo}': set HF_TOKEN to a token that may "
            "write there."
        )
    return UserError(
        f"The dataset '{repo}' cannot be reached ({type(error).__name__}): check the network and "
        "try again."
    )
