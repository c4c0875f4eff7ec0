"""Picks that outlive the machine, if its settings name a dataset for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hosting.settings import Settings
from labeling.durable.hub import kept_beside
from labeling.store import open_store

if TYPE_CHECKING:
    from labeling.durable.keeper import Keeper


def bring_back(settings: Settings) -> None:
    """Makes the database again out of the dataset that keeps its picks, if it is not there.

    Raises ``UserError`` when the dataset cannot be read: an empty project in its place would
    collect picks that do not fit together.
    """
    if not settings.keep:
        return
    from labeling.durable.restore import restore

    database = settings.database
    if found := restore(database, settings.keep, kept_beside(database)):
        print(f"Detox Arena: {found.told(database, settings.keep)}", flush=True)


def keep_picks(settings: Settings) -> Keeper | None:
    """From now on saves picks to the dataset, if one is named.

    Raises ``UserError`` for a name that no dataset can have.
    """
    if not settings.keep:
        return None
    from labeling.durable.keeper import Keeper

    store, place = open_store(settings.database), kept_beside(settings.database)
    return Keeper(store, settings.keep, place, every=settings.keep_minutes)
