"""The labeling database: opening it, its transactions and its errors.

A ``Store`` is a path. Every operation opens its own SQLite connection, so a store may be shared
by any number of threads. A write transaction takes the write lock when it begins and is on disk
when its block ends (WAL with ``synchronous=FULL``).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sqlite_utils import Database

from detox.errors import UserError
from labeling.schema import migrations

BUSY_SECONDS = 30
_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


class StoreError(UserError):
    """The labeling database cannot do what was asked; the message says what to do about it."""


class GoneError(StoreError):
    """What it was about is no longer in the database, which is otherwise well."""

    def __init__(self) -> None:
        super().__init__("This pair is no longer in the project: go on to the next one.")


@dataclass(frozen=True)
class Store:
    """A labeling database on disk. Holds no connection; share it between threads freely."""

    path: Path

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is open between operations, so there is nothing to close."""

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """A connection whose queries all see one moment of the database. Raises ``StoreError``."""
        with _explained(self.path), _connection(self.path) as db, db.atomic():
            yield db

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """One write transaction, on disk when the block ends, undone if it raises.

        Raises ``StoreError`` for a read-only, damaged or locked database and a full disk.
        """
        # SQLite's own waiting asks again after ever longer naps: threads of one program that write
        # at the same time would wait far longer than their turn takes.
        with _turns[str(self.path.absolute())], _explained(self.path), _connection(self.path) as db:
            # A deferred transaction that reads before it writes fails at once, without waiting,
            # when another writer came between.
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise


def open_store(path: str | Path) -> Store:
    """Opens the database at ``path``, creating it or bringing it up to date first.

    A database of an earlier version is copied to ``<file>.m<number>.backup`` before it is
    upgraded in place. Raises ``StoreError`` when the file cannot be opened, is damaged, belongs
    to another program or was written by a newer version of Detox Arena.
    """
    path = Path(path)
    if str(path) == ":memory:":
        raise StoreError("A labeling database must be a file: give a path instead of ':memory:'.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"'{path.parent}' cannot be made ({error.strerror}): choose another folder."
        raise StoreError(_full(path) if error.errno == errno.ENOSPC else sentence) from error
    with _explained(path), _connection(path, create=True) as db:
        if _outdated(db, path):
            if db.table_names():
                _back_up(db, path)
            db.enable_wal()
            _migrate(db)
    return Store(path)


def back_up(store: Store, path: str | Path) -> None:
    """Copies the database as it is at one moment to ``path``, a new file; nobody has to stop.

    The copy is whole and on disk when this returns, or not there. Raises ``StoreError`` when
    there is a file at ``path`` or none can be written, and when the database cannot be read.
    """
    path = Path(path)
    if not path.name:
        raise StoreError("Give the copy a name, such as labels.backup.db.")
    unfinished = path.with_name(f"{path.name}.part-{os.getpid()}-{threading.get_ident()}")
    try:
        if path.exists():
            raise StoreError(f"There is a file '{path}' already: give the copy another name.")
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
        with _explained(store.path), _connection(store.path) as db:
            db.execute("VACUUM INTO ?", [str(unfinished)])
            with closing(Database(unfinished, execute_plugins=False)) as copied:
                copied.enable_wal()
        # SQLite leaves it to us to bring the copy to the disk.
        with unfinished.open("rb+") as copy:
            os.fsync(copy.fileno())
        unfinished.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"'{path}' cannot be written ({reason}): choose another place.") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _outdated(db: Database, path: Path) -> bool:
    """Whether migrations are missing; ``StoreError`` if this is not a database we know."""
    with db.atomic():
        pending = migrations.pending(db)
        applied = {migration.name for migration in migrations.applied(db)}
        tables = db.table_names()
    if tables and not applied:
        raise StoreError(
            f"'{path}' is the database of another program: choose another file with --db or "
            "DETOX_DB."
        )
    with Database(memory=True, execute_plugins=False) as empty:
        known = {migration.name for migration in migrations.pending(empty)}
    if applied - known:
        raise StoreError(
            f"'{path}' was written by a newer version of Detox Arena: update this one."
        )
    return bool(pending)


def _back_up(db: Database, path: Path) -> None:
    """A copy of the database as it was, beside it, named after its last migration."""
    with db.atomic():
        version = _version(db)
    copy = path.with_name(f"{path.name}.{version}.backup")
    unfinished = copy.with_name(f"{copy.name}.part-{os.getpid()}-{threading.get_ident()}")
    try:
        db.execute("VACUUM INTO ?", [str(unfinished)])
        with closing(Database(unfinished, execute_plugins=False)) as made:
            # Another program may have upgraded the database meanwhile; then it has copied it too.
            if _version(made) == version and not copy.exists():
                unfinished.replace(copy)
    finally:
        unfinished.unlink(missing_ok=True)


def _version(db: Database) -> str:
    return migrations.applied(db)[-1].name.partition("_")[0]


def _migrate(db: Database) -> None:
    # Two programs may open a new database at the same moment: the second finds nothing to do.
    db.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(db)
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


def _connect(path: Path, create: bool) -> sqlite3.Connection:
    # Without mode=rw a database deleted under a running app would come back empty.
    mode = "rwc" if create else "rw"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS
    )


@contextmanager
def _connection(path: Path, create: bool = False) -> Iterator[Database]:
    db = Database(_connect(path, create), execute_plugins=False)
    try:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = FULL")
        yield db
    finally:
        db.close()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if "foreign key" in str(error).lower():
            raise GoneError from error
        sentence = _sentence(path, error)
        if sentence is None:
            raise
        raise StoreError(sentence) from error


def _full(path: Path) -> str:
    return f"The disk of '{path}' is full and nothing was saved: free some space and try again."


def _sentence(path: Path, error: sqlite3.DatabaseError) -> str | None:
    """What to tell the user about ``error``; None for a mistake of ours, which must be seen."""
    said = str(error).lower()
    if "disk is full" in said:
        return _full(path)
    if "readonly" in said:
        return (
            f"'{path}' is read-only and nothing was saved: make the file and its folder writable, "
            "or choose another file with --db or DETOX_DB."
        )
    if "not a database" in said or "malformed" in said or "corrupt" in said:
        return (
            f"'{path}' is damaged or not a labeling database: restore a backup, or choose another "
            "file with --db or DETOX_DB."
        )
    if "locked" in said or "busy" in said:
        return f"'{path}' is in use by another program: wait a moment and try again."
    if "unable to open" in said or "disk i/o" in said:
        return f"'{path}' cannot be opened: check that the folder exists and is on a working disk."
    if "no such table" in said or "no such column" in said:
        return f"'{path}' is not a whole labeling database: restore a backup or start a new one."
    return None
