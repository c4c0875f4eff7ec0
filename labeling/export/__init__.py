"""Preference datasets out of the record, each with a manifest of what is in it and what is not."""

from labeling.export.card import dataset_card
from labeling.export.filters import (
    AGGREGATIONS,
    Filters,
    Offered,
    offered,
    select,
    snapshot_hash,
    task_of,
)
from labeling.export.hub import push_to_hub
from labeling.export.manifest import Manifest
from labeling.export.plan import Plan, plan_export
from labeling.export.write import FORMATS, SUFFIXES, export, preview

__all__ = [
    "AGGREGATIONS",
    "FORMATS",
    "SUFFIXES",
    "Filters",
    "Manifest",
    "Offered",
    "Plan",
    "dataset_card",
    "export",
    "offered",
    "plan_export",
    "preview",
    "push_to_hub",
    "select",
    "snapshot_hash",
    "task_of",
]
