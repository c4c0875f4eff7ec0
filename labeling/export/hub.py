"""An exported folder onto the Hugging Face hub, private unless it is said otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

# HTTPError is of the library that this version of the hub's client speaks HTTP with.
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)

from detox.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
# What an earlier push may have left there and this one does not bring.
_OURS = ["picks/*", "preferences/*"]


class Hub(Protocol):
    """The part of ``huggingface_hub.HfApi`` that a push needs."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> object:
        """Makes the repository if there is none."""

    def repo_info(self, repo_id: str, *, repo_type: str) -> Any:
        """What the hub knows of it; ``private`` is all that is read."""

    def upload_folder(
        self,
        *,
        repo_id: str,
        repo_type: str,
        folder_path: Path,
        commit_message: str,
        delete_patterns: list[str],
    ) -> object:
        """Uploads a folder as one commit."""


def check_name(repo: str) -> None:
    """Raises ``UserError`` unless ``repo`` reads like OWNER/NAME."""
    if not _NAME.fullmatch(repo):
        raise UserError(f"'{repo}' is no name on the hub: write it like OWNER/NAME.")


def push_to_hub(
    folder: str | Path, repo: str, *, private: bool = True, hub: Hub | None = None
) -> str:
    """Uploads an exported ``folder`` as the dataset ``repo`` (OWNER/NAME); returns its address.

    The repository is made if there is none. An export meant to be private is not put into a
    public one. ``hub`` is huggingface_hub's ``HfApi`` by default, which finds the token of
    ``hf auth login`` or of HF_TOKEN.

    Raises ``UserError`` for a folder that is no export, a bad name, a missing token or right, and
    when the hub cannot be reached.
    """
    folder = Path(folder)
    check_name(repo)
    if not (folder / "manifest.json").is_file():
        raise UserError(f"'{folder}' is not an exported folder: export with format `folder` first.")
    try:
        hub = hub or _hub()
        hub.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        if private and not hub.repo_info(repo, repo_type="dataset").private:
            raise UserError(
                f"'{repo}' is public and nothing was uploaded: make it private on the hub, or say "
                "--no-private."
            )
        hub.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=folder,
            commit_message="Add preferences from Detox Arena",
            delete_patterns=_OURS,
        )
    except (HTTPError, HFValidationError, OSError) as error:
        raise UserError(f"{_sentence(repo, error)} The dataset is in '{folder}'.") from error
    return f"https://huggingface.co/datasets/{repo}"


def _hub() -> Hub:
    from huggingface_hub import HfApi

    hub: Hub = HfApi(library_name="detox-arena")
    return hub


def _sentence(repo: str, error: Exception) -> str:
    """What went wrong, and what to do about it."""
    if isinstance(error, HFValidationError):
        return f"'{repo}' is no name on the hub: write it like OWNER/NAME."
    if isinstance(error, OfflineModeIsEnabled):
        return "The hub is switched off by HF_HUB_OFFLINE: unset it and push again."
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, LocalTokenNotFoundError) or status == 401:
        return "The hub does not know you: run `hf auth login` or set HF_TOKEN, then push again."
    if status == 403:
        return (
            f"Your token may not write to '{repo}': make one with write access at "
            "https://huggingface.co/settings/tokens."
        )
    if status == 404:
        return f"The hub has no owner of '{repo}' that you may write for: check the name."
    if status is not None:
        return f"The hub refused '{repo}' (status {status}): wait a moment and push again."
    if isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        return "The hub cannot be reached: check the network and push again."
    return f"The folder cannot be read ({getattr(error, 'strerror', None) or error})."
