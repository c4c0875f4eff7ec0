"""Compose further dialogues from scenario cards (in progress)."""

from __future__ import annotations


def generate() -> str:
    """Return dialogues in the text format."""
    return ""
