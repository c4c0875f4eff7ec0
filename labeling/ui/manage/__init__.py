"""The Manage tab: batches, conflicts, gold, people and the record, for those who lead."""

from labeling.ui.manage.tab import manage_tab

__all__ = ["manage_tab"]
