"""Picks → reward model: which picks count, how good the model is, and the record of it."""

from labeling.reward_model.command import add_arguments, run
from labeling.reward_model.material import ADVISED_PICKS, MIN_PICKS, PEOPLE
from labeling.reward_model.train import train_reward_model

__all__ = [
    "ADVISED_PICKS",
    "MIN_PICKS",
    "PEOPLE",
    "add_arguments",
    "run",
    "train_reward_model",
]
