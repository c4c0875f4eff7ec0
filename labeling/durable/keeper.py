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
from labeling.durable.pushed import PUSHED, Pushed, read_pushed, write_pushed
from labeling.records import now
from labeling.store import Store, back_up

EVERY = 5.0
# Copies that are kept; a copy is made when more than picks has changed, or after so many commits.
COPIES, COMMITS_A_COPY = 3, 12
STATUS = "status.json"
_log = logging.getLogger("detox")


class Keeper(CommitScheduler):
    """Keeps the picks of ``store`` in the dataset ``repo``, which is made, private, if missing.

    ``folder`` is for what it remembers; ``every`` is in minutes. A pick is safe once a commit that
    began after it has ended: what was acknowledged ``every`` minutes, and the time commits take,
    before a disk is lost may be lost with it, nothing else. A commit that fails is tried again
    with the next one; ``trouble`` is a sentence about it until one succeeds.

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
        self._uncopied = 0
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
        # Picks go ahead of copies, which take longer and can wait.
        done = None
        while new := self._push_picks():
            done = new
        seen = self._settings()
        if seen != self._seen or self._uncopied >= COMMITS_A_COPY:
            done = self._push_copy()
            self._seen, self._uncopied = seen, 0
        return done

    def _push_picks(self) -> Any:
        known = read_pushed(self.store, self._state)
        lines, last, picks = lines_since(self.store, known.seq)
        if not picks:
            return None
        name = f"{PICKS}{uuid.uuid4()}.jsonl"
        text = "".join(f"{line}\n" for line in lines)
        done = self._commit([CommitOperationAdd(name, text.encode())], f"{picks} picks")
        self._uncopied += 1
        write_pushed(self.store, self._state, Pushed(last, known.journals | {name: 0}))
        return done

    def _push_copy(self) -> Any:
        known = read_pushed(self.store, self._state)
        files = set(self.api.list_repo_files(self.repo_id, repo_type=REPO_TYPE))
        copies = sorted(name for name in files if name.startswith(SNAPSHOTS))
        # counted, not dated: a clock may go back
        number = _number(copies[-1]) + 1 if copies else 1
        kept = [*copies, _copy_name(number)][-COPIES:]
        # A journal goes when every copy that is kept holds its picks.
        journals = {name: copy or number for name, copy in known.journals.items()}
        oldest = _number(kept[0]) if len(kept) == COPIES else 0
        gone = {name for name, copy in journals.items() if copy <= oldest}
        copy = self.folder_path / f"copy-{uuid.uuid4()}.db"
        try:
            back_up(self.store, copy)
            added = CommitOperationAdd(_copy_name(number), io.BytesIO(copy.read_bytes()))
        finally:
            copy.unlink(missing_ok=True)
        old = sorted((gone & files) | (set(copies) - set(kept)))
        deleted = (CommitOperationDelete(name) for name in old)
        done = self._commit([added, *deleted], f"copy {number}")
        left = {name: copy for name, copy in journals.items() if name not in gone}
        write_pushed(self.store, self._state, Pushed(known.seq, left))
        return done

    def _commit(self, operations: list[Any], message: str) -> Any:
        return self.api.create_commit(
            repo_id=self.repo_id,
            repo_type=self.repo_type,
            operations=operations,
            commit_message=message,
        )

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


def _number(name: str) -> int:
    return int(Path(name).stem)


def _copy_name(number: int) -> str:
    return f"{SNAPSHOTS}{number:08d}.db"


def standing(folder: Path) -> dict[str, str] | None:
    """How keeping goes, as told in ``folder``: ``repo``, ``last`` success and ``trouble``."""
    try:
        found = json.loads((folder / STATUS).read_text(encoding="utf-8"))
        return {name: str(found[name]) for name in ("repo", "last", "trouble")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
