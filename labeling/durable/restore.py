"""A database on an empty disk again: the latest whole copy, and every pick made since."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from detox.errors import UserError
from labeling.durable.hub import PICKS, REPO_TYPE, SNAPSHOTS, Hub, check_name, explained, the_hub
from labeling.durable.journal import replay
from labeling.durable.pushed import PUSHED, Pushed, write_pushed
from labeling.store import Store, open_store


@dataclass(frozen=True)
class Restored:
    """What was put together."""

    copy: str
    """The copy it began with; empty where there was none."""
    picks: int
    """Picks added to it."""
    orphans: int
    """Picks that had nothing to rest on."""
    damaged: Path | None
    """Where the damaged database that was found lies now."""

    def told(self, path: Path, repo: str) -> str:
        """What was restored, in a sentence or some more."""
        begun = f"{self.picks:,} picks"
        if self.copy:
            begun = f"the copy {Path(self.copy).name} and {begun} made since"
        said = f"{path} was made out of {repo}: {begun}."
        if self.damaged and not self.copy and not self.picks:
            said = f"{repo} holds no picks, so that {path} begins empty."
        if self.orphans:
            said += f" {self.orphans:,} picks rest on others that were lost, and were left out."
        if self.damaged:
            said += f" The damaged database that was there lies in {self.damaged}."
        return said


def restore(path: Path, repo: str, folder: Path, hub: Hub | None = None) -> Restored | None:
    """Makes the database at ``path`` out of the dataset ``repo``, unless a whole one is there.

    A damaged one is moved aside, never deleted. ``folder`` is the keeper's. None where there was
    nothing to do: a whole database, or a dataset without picks and copies.

    Raises ``UserError`` when the dataset cannot be read: better no app than an empty one whose
    picks would later have to be told apart.
    """
    check_name(repo)
    hub = hub or the_hub()
    damaged = None
    if path.exists():
        if whole(path):
            return None
        damaged = _aside(path)
    try:
        hub.create_repo(repo_id=repo, repo_type=REPO_TYPE, private=True, exist_ok=True)
        names = sorted(hub.list_repo_files(repo, repo_type=REPO_TYPE))
        with TemporaryDirectory(prefix="detox-restore-", dir=_made(path.parent)) as scratch:
            return _put_together(path, repo, folder, hub, names, Path(scratch), damaged)
    except UserError:
        raise
    except Exception as error:
        raise explained(repo, error) from error


def _put_together(
    path: Path,
    repo: str,
    folder: Path,
    hub: Hub,
    names: list[str],
    scratch: Path,
    damaged: Path | None,
) -> Restored | None:
    def fetched(name: str) -> Path:
        return Path(hub.hf_hub_download(repo, name, repo_type=REPO_TYPE, local_dir=str(scratch)))

    copies = [name for name in names if name.startswith(SNAPSHOTS)]
    journals = [name for name in names if name.startswith(PICKS) and name.endswith(".jsonl")]
    if not copies and not journals:
        return Restored("", 0, 0, damaged) if damaged else None
    begun = ""
    # Beside its place, so that it appears there whole or not at all.
    made = scratch / "labels.db"
    for name in reversed(copies):
        copy = fetched(name)
        if whole(copy):
            shutil.copyfile(copy, made)
            begun = name
            break
    store = open_store(made)

    def lines() -> Iterator[str]:
        for name in journals:
            with fetched(name).open(encoding="utf-8") as file:
                yield from file

    done = replay(store, lines())
    _settle(made)
    made.replace(path)
    # what has orphans is kept: they may yet find what they rest on
    _note_pushed(open_store(path), folder, [] if done.orphans else journals)
    return Restored(begun, done.added, done.orphans, damaged)


def whole(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with the file, and tables of ours in it."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            said = db.execute("PRAGMA integrity_check(1)").fetchone()
            tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError:
        return False
    return said == ("ok",) and {"picks", "pairs"} <= tables


def _aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    place = path.with_name(f"{path.name}.damaged-{stamp}")
    path.replace(place)
    for end in ("-wal", "-shm"):
        rest = path.with_name(path.name + end)
        if rest.exists():
            rest.replace(place.with_name(place.name + end))
    return place


def _settle(path: Path) -> None:
    """Brings the file's write-ahead log into it, and the file to the disk."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _note_pushed(store: Store, folder: Path, journals: list[str]) -> None:
    """All that is there came from the dataset and need not go there again."""
    with store.reading() as db:
        last = next(db.query("SELECT max(seq) AS n FROM picks"))["n"]
    if last:
        known = Pushed(int(last), dict.fromkeys(journals, 0))
        write_pushed(store, folder / PUSHED, known)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
