"""The model libraries, kept quiet and made to fail in one sentence."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detox.errors import UserError


def quiet() -> None:
    """Keeps progress bars and advice of the model libraries out of people's terminals."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    # peft asks transformers by an old name; whoever reads the terminal can do nothing about it
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)


@contextmanager
def one_sentence(name: str) -> Iterator[None]:
    """Turns the many errors of an absent model into one sentence that names it."""
    quiet()
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the libraries raise a dozen unrelated classes
        if name and Path(name).exists():
            sentence = f"The folder {name} does not hold a complete model: check its files."
        else:
            sentence = (
                f"The model '{name}' is neither a local folder nor reachable on the Hugging "
                "Face hub: check the name and the connection, or use 'embedded'."
            )
        raise UserError(sentence) from error
