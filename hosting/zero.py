"""ZeroGPU of Hugging Face Spaces: a GPU that is lent for one call, in a process forked for it.

Only what writes responses goes there. The models are loaded, and scores computed, on the CPU of
the Space; the forked process moves the weights it needs to its GPU and keeps them there while it
lives. Spaces installs the ``spaces`` package; elsewhere nothing here is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import gradio as gr
import httpx

from detox.config import Sampling
from detox.writers import Writers

if TYPE_CHECKING:
    from detox.models import Policy

SECONDS = 30
"""What is asked for at a time; a visitor's daily quota must hold it, and it rarely takes three."""
NOT_LENT = (gr.Error, RuntimeError, httpx.HTTPError)


def is_lending(env: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a Space that lends GPUs."""
    wanted = env.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
    return wanted and importlib.util.find_spec("spaces") is not None


class Lent(Writers):
    """Writers who borrow a GPU for each call, and do without where none is lent.

    The functions that borrow are made anew for every set of ``policies``, because a process that
    was forked earlier would not know the policies that came later.
    """

    def __init__(self, policies: dict[str, Policy]) -> None:
        super().__init__(policies)
        borrow: Callable[[Any], Any] = importlib.import_module("spaces").GPU(duration=SECONDS)
        self._stream, self._write = borrow(self._stream_there()), borrow(self._write_there())

    def stream(
        self, names: Sequence[str], prompt: str, sampling: Sampling
    ) -> Iterator[tuple[str, ...]]:
        """As ``Writers.stream``; ``UserError`` for a prompt that is too long comes before."""
        self._check(names, [prompt], sampling)
        texts = self._stream(names, prompt, sampling)
        try:
            first = [next(texts)]
        except NOT_LENT as error:
            _say(error)
            first, texts = [], super().stream(names, prompt, sampling)
        yield from chain(first, texts)

    def write(self, name: str, prompts: Sequence[str], sampling: Sampling) -> list[str]:
        """As ``Writers.write``; ``UserError`` for a prompt that is too long comes before."""
        self._check([name], prompts, sampling)
        try:
            texts: list[str] = self._write(name, prompts, sampling)
        except NOT_LENT as error:
            _say(error)
            texts = super().write(name, prompts, sampling)
        return texts

    def _check(self, names: Sequence[str], prompts: Sequence[str], sampling: Sampling) -> None:
        """What the forked process could only tell by the name of its error."""
        from detox.generation import check_fits

        for name in names:
            for prompt in prompts:
                check_fits(self.policies[name], prompt, sampling)

    def _stream_there(self) -> Callable[..., Iterator[tuple[str, ...]]]:
        def stream(
            names: Sequence[str], prompt: str, sampling: Sampling
        ) -> Iterator[tuple[str, ...]]:
            self._settle(names)
            yield from Writers.stream(self, names, prompt, sampling)

        return stream

    def _write_there(self) -> Callable[..., list[str]]:
        def write(name: str, prompts: Sequence[str], sampling: Sampling) -> list[str]:
            self._settle([name])
            return Writers.write(self, name, prompts, sampling)

        return write

    def _settle(self, names: Sequence[str]) -> None:
        """Moves what will write to the GPU of the process that was forked for it."""
        import torch

        # OpenMP's threads do not survive a fork; a second one would wait for the first for ever
        torch.set_num_threads(1)
        if torch.cuda.is_available():
            for name in names:
                self.policies[name].model.to("cuda")


def _say(error: Exception) -> None:
    said = getattr(error, "message", "") or error
    logging.getLogger("detox").warning("No GPU was lent, the CPU does it: %s", said)
