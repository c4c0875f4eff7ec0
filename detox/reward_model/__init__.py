"""A Bradley–Terry reward model from pairs of responses, trained with TRL's RewardTrainer."""

from detox.reward_model.fit import ASKED, fit_reward_model
from detox.reward_model.measure import accuracy, gaps, scores
from detox.reward_model.parts import Pair, is_held_out, part_of

__all__ = [
    "ASKED",
    "Pair",
    "accuracy",
    "fit_reward_model",
    "gaps",
    "is_held_out",
    "part_of",
    "scores",
]
