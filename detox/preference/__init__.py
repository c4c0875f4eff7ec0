"""Policies tuned on preferences directly, without a reward model in between."""

from detox.preference.run import train_dpo

__all__ = ["train_dpo"]
