"""The state of a run on disk: written whole or not at all, read back only where it fits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from detox import processes
from detox.config import PpoConfig
from detox.errors import UserError
from detox.ppo.step import State
from detox.rewards import MixedReward, RewardSource

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(state: State, folder: Path, reward: RewardSource, config: PpoConfig) -> None:
    """Writes all that ``state`` carries from step to step to ``folder``.

    Raises ``UserError`` when the disk is full; the checkpoint before it then stays.
    """
    content = {
        "config": asdict(config),
        "step": state.step,
        "kl_coef": state.kl_coef,
        "adapter": trained(state),
        "head": state.head.state_dict(),
        "optimizer": state.optimizer.state_dict(),
    }
    if isinstance(reward, MixedReward):
        content["standardised"] = {"means": reward.means, "stds": reward.stds}
    if processes.is_main():
        temporary = folder / f"{CHECKPOINT}.partial"
        try:
            torch.save(content, temporary)
            temporary.replace(folder / CHECKPOINT)
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)
            raise UserError(
                f"The checkpoint cannot be written to {folder}: free some disk and resume."
            ) from error
    processes.wait()


def restore(state: State, folder: Path, reward: RewardSource, config: PpoConfig) -> None:
    """Puts ``state`` back to the last checkpoint of ``folder``.

    Raises ``UserError`` when there is none, when it is damaged, or when it was made with
    other settings than ``config``.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise UserError(f"There is no checkpoint in {folder} to resume from: start without it.")
    foreign = UserError(
        f"{path} does not belong to this policy and adapter: resume with the settings it was "
        "made with, or start anew."
    )
    try:
        content = torch.load(path, map_location=state.model.device, weights_only=True)
        now = asdict(config)
        then = now | content.get("config", {})
    except (RuntimeError, OSError, EOFError, UnpicklingError, AttributeError) as error:
        raise UserError(f"{path} is damaged: start anew.") from error
    # a run may be moved or prolonged, and how often it is saved changes nothing
    free = ("output", "steps", "save_every")
    changed = [key for key in now if now[key] != then[key] and key not in free]
    if changed:
        raise UserError(
            f"The run in {folder} was started with other settings ({', '.join(changed)}): resume "
            "it with those, or start anew."
        )
    try:
        mine = trained(state)
        with torch.no_grad():
            for name, values in content["adapter"].items():
                mine[name].copy_(values)
        state.head.load_state_dict(content["head"])
        state.optimizer.load_state_dict(content["optimizer"])
        state.step, state.kl_coef = int(content["step"]), float(content["kl_coef"])
        if isinstance(reward, MixedReward):
            reward.means = content["standardised"]["means"]
            reward.stds = content["standardised"]["stds"]
    except (RuntimeError, KeyError, ValueError) as error:
        raise foreign from error


def trained(state: State) -> dict[str, Tensor]:
    """The parameters of the adapter that is being tuned, by name."""
    return {name: p.detach() for name, p in state.model.named_parameters() if p.requires_grad}
