"""TRL's RewardTrainer, reading pairs that share texts, and measuring itself on whole parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl.trainer.reward_trainer import RewardTrainer

from detox.checkpoints import room
from detox.errors import UserError
from detox.reward_model.loss import centring, pair_losses
from detox.reward_model.measure import gaps, mean_loss, share_right
from detox.reward_model.parts import Pair
from detox.rewards import PreferenceReward
from detox.runlog import RunLog

Tell = Callable[[str], None]
# What the trainer calls its numbers, and what they are called in the run's log.
_LOGGED = {
    "loss": "loss",
    "accuracy": "accuracy",
    "margin": "reward_margin",
    "mean_reward": "reward_mean",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}


class PairTrainer(RewardTrainer):
    """A RewardTrainer whose batches come from ``PairCollator``.

    ``watched`` are the pairs that ``evaluate`` measures, as a whole: the trainer's own evaluation
    averages over batches of unequal size.
    """

    watched: Sequence[Pair] = ()
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    args: Any
    model: Any

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The mean loss of a batch and the centring term; ``UserError`` once it is not finite."""
        texts = {key: inputs[key] for key in ("input_ids", "attention_mask")}
        rewards = model(**texts).logits.squeeze(-1).float()
        first, second = rewards[inputs["first"]], rewards[inputs["second"]]
        target = inputs["target"]
        loss = pair_losses(first, second, inputs["margin"], target).mean()
        loss = loss + (self.args.center_rewards_coefficient or 0.0) * centring(first, second)
        if not torch.isfinite(loss):
            raise UserError("The loss is not finite any more: lower the learning rate (--lr).")
        with torch.no_grad():
            numbers = {"mean_reward": rewards.mean(), "margin": (first - second).mean()}
            if (decided := target == 1).any():
                numbers["accuracy"] = (first > second)[decided].float().mean()
        for name, value in numbers.items():
            self._metrics["train"][name].append(float(value))
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Loss and accuracy on the ``watched`` pairs."""
        judge = PreferenceReward(self.model, self.tokenizer, "", self.max_tokens)
        found = gaps(judge, self.watched)
        metrics = {"eval_loss": mean_loss(found, self.watched)}
        if (right := share_right(found, self.watched)) is not None:
            metrics["eval_accuracy"] = right
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _send_telemetry(self) -> None:
        """Nothing: what is learned from whose picks is nobody else's business."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with room(Path(str(self.args.output_dir)).parent):
            # past trl's own, which would write a model card into every checkpoint
            super(RewardTrainer, self)._save_checkpoint(model, trial)


class Recorder(TrainerCallback):
    """Passes the trainer's numbers on to the run log and to whoever watches.

    ``part`` is what is watched: ``validation`` or ``held_out``.
    """

    def __init__(self, log: RunLog, tell: Tell, part: str) -> None:
        self.log, self.tell, self.part = log, tell, part
        self.before = time.perf_counter()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        """Writes what the trainer logged."""
        if not logs or not {"loss", "eval_loss"} & logs.keys():
            return
        seconds = {"seconds": round(time.perf_counter() - self.before, 2)}
        self.before = time.perf_counter()
        at = f"step {state.global_step}/{args.max_steps}"
        if "eval_loss" in logs:
            numbers = {"validation_loss": float(logs["eval_loss"])}
            said = f"{at}  {self.part.replace('_', ' ')}: loss {numbers['validation_loss']:.3f}"
            if "eval_accuracy" in logs:
                numbers[f"{self.part}_accuracy"] = float(logs["eval_accuracy"])
                said += f"  accuracy {logs['eval_accuracy']:.1%}"
            self.log.write(state.global_step, numbers | seconds)
            self.tell(said)
        else:
            numbers = {new: float(logs[old]) for old, new in _LOGGED.items() if old in logs}
            self.log.write(state.global_step, numbers | seconds)
            if state.global_step % 10 == 0:
                self.tell(f"{at}  loss {numbers['loss']:.3f}")


class Stopping(TrainerCallback):
    """Ends the run after a step at which it was asked to, with a checkpoint to go on from."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self.should_stop = should_stop
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Asks."""
        if self.should_stop():
            self.stopped = control.should_training_stop = control.should_save = True
