"""Tiny models made on the spot (real architectures, random weights), dialogues, and a tiny disk."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from detox.config import Sampling
from detox.evaluation import measured
from detox.workbench import Workbench

SPECIAL = ["<pad>", "</s>", "<s>", "<unk>", "<mask>"]
PAD, EOS, BOS = 0, 1, 2

# What the tokenizer learns its merges from; every other text still has tokens, byte by byte.
SENTENCES = """
Summarize the following conversation. Summary: Sentiment: Is the following review positive?
#Person1#: You forgot the tickets again, you useless fool. How stupid can one man be?
#Person2#: I am sorry. I left them on the kitchen table and I will fetch them now.
#Person1#: Hurry up then, the train leaves in ten minutes and I will not wait for an idiot.
#Person2#: There is no need to insult me. I said that I would be back before it leaves.
#Person1# tells #Person2# that the movie was terrible, dumb and stupid.
#Person1# is upset with #Person2# about the tickets, and #Person2# goes home to fetch them.
#Person1#: Thank you for the lovely dinner. The soup was the best that I have ever had.
#Person2#: You are welcome! Shall we go for a walk by the river tomorrow morning?
""".strip().splitlines()


def tokenizer(style: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that marks texts as T5 (``seq2seq``), Llama (``causal``) or
    RoBERTa (``classifier``) tokenizers do, padding on the side that they pad on.
    """
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        SENTENCES, vocab_size=420, min_frequency=2, special_tokens=SPECIAL, show_progress=False
    )
    marks = {
        "seq2seq": ("$A </s>", "$A </s> $B </s>"),
        "classifier": ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
    }
    inner = trained._tokenizer
    if style in marks:
        single, pair = marks[style]
        inner.post_processor = TemplateProcessing(
            single=single, pair=pair, special_tokens=[("</s>", EOS), ("<s>", BOS)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        unk_token="<unk>",
        mask_token="<mask>",
        cls_token="<s>",
        sep_token="</s>",
        padding_side="left" if style == "causal" else "right",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def save(model: Any, folder: Path, style: str) -> Path:
    """Writes model and tokenizer to ``folder``, as a local copy of a hub model would be."""
    model.eval().save_pretrained(str(folder))
    tokenizer(style).save_pretrained(str(folder))
    return folder


def t5() -> T5ForConditionalGeneration:
    """FLAN-T5 in small: gated GELU, dropout, and a head of its own."""
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=len(tokenizer("seq2seq")),
        d_model=32,
        d_kv=8,
        num_heads=4,
        d_ff=64,
        num_layers=2,
        num_decoder_layers=2,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.1,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
        tie_word_embeddings=False,
    )
    return untied(T5ForConditionalGeneration(config))


def untied(model: T5ForConditionalGeneration) -> T5ForConditionalGeneration:
    """``model`` with a head of its own: transformers ties every T5 that it builds afresh."""
    config = model.config
    config.tie_word_embeddings = False
    model.lm_head = torch.nn.Linear(
        config.d_model, config.vocab_size, bias=False, device=model.shared.weight.device
    )
    return model


def causal() -> LlamaForCausalLM:
    """SmolLM2 in small: a Llama with dropout on its attention."""
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=len(tokenizer("causal")),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        attention_dropout=0.1,
        initializer_range=0.2,  # the usual 0.02 leaves a model this small next to indifferent
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def classifier(labels: Sequence[str] | None, outputs: int = 2) -> RobertaForSequenceClassification:
    """RoBERTa in small; without ``labels`` its outputs are called LABEL_0, LABEL_1, …"""
    torch.manual_seed(3)
    config = RobertaConfig(
        vocab_size=len(tokenizer("classifier")),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=514,
        type_vocab_size=1,
        initializer_range=0.2,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
        num_labels=outputs,
    )
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
    return RobertaForSequenceClassification(config)


def swapped(model: RobertaForSequenceClassification) -> RobertaForSequenceClassification:
    """The same classifier with its two outputs, and their names, the other way round."""
    first, second = model.config.id2label[0], model.config.id2label[1]
    model.config.id2label = {0: second, 1: first}
    model.config.label2id = {second: 0, first: 1}
    head = model.classifier.out_proj
    with torch.no_grad():
        head.weight.copy_(head.weight.flip(0))
        head.bias.copy_(head.bias.flip(0))
    return model


def dialogsum_rows(count: int = 12) -> list[dict[str, str]]:
    """``count`` different dialogues of 200 to 400 characters, with DialogSum's training fields."""
    things = ("tickets", "soup", "printer", "garden", "report", "bicycle")
    rows = []
    for i in range(count):
        thing, day = things[i % len(things)], ("Monday", "Friday", "Sunday")[i // 6 % 3]
        turns = [
            f"#Person1#: You ruined the {thing} on {day}, you useless fool. How stupid are you?",
            f"#Person2#: I am sorry about the {thing}. I will put it right before {day} evening.",
            f"#Person1#: Hurry up then. I will not wait {i + 2} more days for an idiot.",
            "#Person2#: There is no need to insult me.",
        ]
        rows.append(
            {
                "id": f"train_{i}",
                "dialogue": "\n".join(turns),
                "summary": f"#Person1# is upset about the {thing}. #Person2# mends it on {day}.",
                "topic": thing,
            }
        )
    return rows


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """A disk on which no file can grow past ``size`` bytes: a full one, to whoever writes more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_what_can_be_judged(
    monkeypatch: pytest.MonkeyPatch, versions: Sequence[Callable[[str], str]]
) -> None:
    """Workbenches answer with ``versions`` of the references; all else that they do is real.

    Tiny models write noise that nobody could prefer.
    """

    def respond(
        self: Workbench, names: Sequence[str], dialogues: Dataset, sampling: Sampling
    ) -> Iterator[tuple[Dataset, dict[str, list[dict[str, Any]]]]]:
        self.wait()
        rows = {}
        for place, name in enumerate(names):
            rng = random.Random(f"{place}:{sampling.seed}")
            texts = [rng.choice(versions)(item["references"][0]) for item in dialogues]
            rows[name] = measured(self.policies[name], texts, dialogues, self.judge)
        yield dialogues, rows

    monkeypatch.setattr(Workbench, "respond", respond)
