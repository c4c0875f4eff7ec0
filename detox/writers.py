"""What writes an app's responses: its policies, where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from detox.config import Sampling

if TYPE_CHECKING:
    from detox.models import Policy


class Writers:
    """Policies by name, writing in this process.

    Whoever lends an accelerator for single calls has the same two methods (``hosting.zero``).
    """

    def __init__(self, policies: dict[str, Policy]) -> None:
        self.policies = policies

    def stream(
        self, names: Sequence[str], prompt: str, sampling: Sampling
    ) -> Iterator[tuple[str, ...]]:
        """``detox.generation.compare`` of the policies ``names``."""
        from detox.generation import compare

        yield from compare([self.policies[name] for name in names], prompt, sampling)

    def write(self, name: str, prompts: Sequence[str], sampling: Sampling) -> list[str]:
        """``detox.generation.generate`` by the policy ``name``."""
        from detox.generation import generate

        return generate(self.policies[name], prompts, sampling)
