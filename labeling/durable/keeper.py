"""New picks and copies of the database, committed to a private dataset every few minutes."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, CommitScheduler

from detox.errors import UserError
from labeling.durable.hub import PICKS, REPO_TYPE, SNAPSHOTS, Hub, check_name, explained, the_hub
from labeling.durable.journal import lines_since
from labeling.records import now
from labeling.store import Store, back_up

EVERY = 5.0
# Copies that are kept; a copy is made when more than picks has changed, or after so many commits.
COPIES, COMMITS_A_COPY = 3, 12
PUSHED, STATUS = "pushed.json", "status.json"
_log = logging.getLogger("detox")


class Keeper(CommitScheduler):
    """Keeps the picks of ``store`` in the dataset ``repo``, which is made, private, if missing.

    ``folder`` is for what it remembers; ``every`` is in minutes. What is acknowledged within the
    last ``every`` minutes before a disk is lost may be lost with it, nothing else. A commit that
    fails is tried again with the next one; ``trouble`` is a sentence about it until one succeeds.

    Raises ``UserError`` for a name that no dataset can have.
    """

    def __init__(
        self,
        store: Store,
        repo: str,
        folder: Path,
        *,
        every: float = EVERY,
        hub: Hub | None = None,
    ) -> None:
        self.store, self.trouble, self.last = store, "", ""
        self.hub = hub or the_hub()
        self._found = False
        self._state, self._status = folder / PUSHED, folder / STATUS
        self._seen: dict[str, Any] = {}
        self._commits = 0
        folder.mkdir(parents=True, exist_ok=True)
        check_name(repo)
        super().__init__(
            repo_id=repo,
            folder_path=folder,
            every=every,
            repo_type=REPO_TYPE,
            private=True,
            hf_api=_Later(self.hub),  # type: ignore[arg-type]
        )

    def push_to_hub(self) -> Any:
        """One commit of what is new; None where nothing is, and where it failed.

        ``trouble`` says why. Called by the scheduler only, at the end of the program too.
        """
        try:
            done = self._push()
        except Exception as error:
            said = error if isinstance(error, UserError) else explained(self.repo_id, error)
            self.trouble = str(said)
            _log.warning("%s Picks are on this disk only until then.", said)
            self._tell()
            return None
        self.trouble, self.last = "", now()
        self._tell()
        return done

    def _tell(self) -> None:
        """Leaves word for whoever asks how it goes, in whichever process."""
        told = {"repo": self.repo_id, "last": self.last, "trouble": self.trouble}
        try:
            self._status.write_text(json.dumps(told), encoding="utf-8")
        except OSError:  # a full disk is told elsewhere, by all that cannot be saved
            _log.warning("%s cannot be written.", self._status)

    def _push(self) -> Any:
        if not self._found:
            options = {"repo_id": self.repo_id, "repo_type": REPO_TYPE}
            self.hub.create_repo(**options, private=True, exist_ok=True)
            self._found = True
        done = None
        seq = self._pushed()
        while True:
            lines, last, picks = lines_since(self.store, seq)
            operations: list[Any] = []
            if picks:
                text = "".join(f"{line}\n" for line in lines)
                name = f"{PICKS}{uuid.uuid4()}.jsonl"
                operations.append(CommitOperationAdd(name, text.encode()))
            seen = self._settings()
            copy = None
            if seen != self._seen or (picks and self._commits % COMMITS_A_COPY == 0):
                copy = self.folder_path / f"copy-{uuid.uuid4()}.db"
                back_up(self.store, copy)
                operations += self._as_latest(copy)
            if not operations:
                return done
            try:
                done = self.api.create_commit(
                    repo_id=self.repo_id,
                    repo_type=self.repo_type,
                    operations=operations,
                    commit_message=f"{picks} picks",
                )
            finally:
                if copy is not None:
                    copy.unlink(missing_ok=True)
            seq, self._seen, self._commits = last, seen, self._commits + 1
            remember(self.store, self._state, seq)

    def _as_latest(self, copy: Path) -> list[Any]:
        """Adds ``copy`` as the latest snapshot, and takes away the oldest ones."""
        files = self.api.list_repo_files(self.repo_id, repo_type=REPO_TYPE)
        known = sorted(name for name in files if name.startswith(SNAPSHOTS))
        # counted, not dated: a clock may go back
        number = int(Path(known[-1]).stem) + 1 if known else 1
        added = CommitOperationAdd(f"{SNAPSHOTS}{number:08d}.db", io.BytesIO(copy.read_bytes()))
        return [added, *(CommitOperationDelete(name) for name in known[: 1 - COPIES])]

    def _settings(self) -> dict[str, Any]:
        """What has to be in a copy as soon as it changes: whatever leads did."""
        with self.store.reading() as db:
            counted = {
                table: next(db.query(f"SELECT count(*) AS n FROM {table}"))["n"]
                for table in ("pairs", "gold", "adjudications", "reward_models", "judges")
            }
            batches = list(db.query("SELECT * FROM batches ORDER BY name"))
            accounts = list(db.query("SELECT * FROM accounts ORDER BY name"))
        plans = [{k: v for k, v in row.items() if k not in ("pairs", "votes")} for row in batches]
        told = json.dumps([plans, accounts], sort_keys=True)
        return counted | {"plans": hashlib.sha256(told.encode()).hexdigest()}

    def _pushed(self) -> int:
        """The number of the last pick that is in the dataset; 0 for another database than then."""
        try:
            found = json.loads(self._state.read_text(encoding="utf-8"))
            seq, pick = int(found["seq"]), str(found["pick"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        with self.store.reading() as db:
            row = next(db.query("SELECT uuid FROM picks WHERE seq = ?", [seq]), None)
        return seq if row and row["uuid"] == pick else 0


class _Later:
    """A hub whose repository is looked for with the first commit, not before.

    An app must open while the Hub is down; its picks are safe on its own disk meanwhile.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def create_repo(self, repo_id: str, **_: Any) -> Any:
        return SimpleNamespace(repo_id=repo_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)


def standing(folder: Path) -> dict[str, str] | None:
    """How keeping goes, as told in ``folder``: ``repo``, ``last`` success and ``trouble``."""
    try:
        found = json.loads((folder / STATUS).read_text(encoding="utf-8"))
        return {name: str(found[name]) for name in ("repo", "last", "trouble")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(store: Store, path: Path, seq: int) -> None:
    """Notes in ``path`` that the picks up to the one numbered ``seq`` are in the dataset."""
    with store.reading() as db:
        row = next(db.query("SELECT uuid FROM picks WHERE seq = ?", [seq]), None)
    if row is None:
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps({"seq": seq, "pick": row["uuid"]}), encoding="utf-8")
    partial.replace(path)
