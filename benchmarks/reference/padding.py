"""A tokenizer that can only pad: all that trl's ``PPOTrainer`` asks of one.

Import it before peft: peft 0.21 expects ``torch.distributed.tensor`` to have been imported.
"""

from __future__ import annotations

import torch.distributed.tensor  # noqa: F401
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

PAD, EOS = 0, 1


def padder() -> PreTrainedTokenizerFast:
    """Pads on the right with ``PAD``; ends responses with ``EOS``; knows no words."""
    vocabulary = {"<pad>": PAD, "</s>": EOS, "<unk>": 2}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")),
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="right",
    )
