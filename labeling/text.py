"""The texts a labeler sees: their identity, and what must never show in them."""

from __future__ import annotations

import hashlib
import json
import re

from detox.errors import UserError
from detox.tasks import TASKS

ID_LENGTH = 32

# Tokens of T5, Llama, ChatML, Gemma, BERT and RoBERTa vocabularies: one of them in a summary
# tells the labeler which model wrote it.
SPECIAL_TOKENS = re.compile(
    r"<\|[^|<>\s]{1,40}\|>"
    r"|</?(?:s|pad|eos|bos|unk|mask|cls|sep)>"
    r"|<(?:start|end)_of_(?:turn|text)>"
    r"|<extra_id_\d+>"
    r"|\[(?:PAD|CLS|SEP|MASK|UNK|BOS|EOS)\]"
)
# Escape sequences could rewrite a terminal; bidirectional overrides could reorder a page.
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")


def content_id(*parts: str) -> str:
    """A text's identity: the first 128 bits of the SHA-256 of its parts, as hex.

    The parts are joined as a JSON list, so ``("a", "b")`` and ``("ab",)`` differ.
    """
    encoded = json.dumps(parts, ensure_ascii=True).encode()
    return hashlib.sha256(encoded).hexdigest()[:ID_LENGTH]


def storable(text: str) -> str:
    """``text`` with ``\\n`` line ends and without what SQLite and UTF-8 files cannot hold."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return plain.encode("utf-8", "replace").decode("utf-8")


def clean_text(text: str) -> str:
    """``text`` as a labeler may see it: no special token, no control character, no outer space.

    Raises ``UserError`` for what is no text, as a program may send it.
    """
    if not isinstance(text, str):
        raise UserError("A name, note, reason or guideline is not text: send a string.")
    cleaned = _INVISIBLE.sub("", storable(text))
    # Removing one token can join the halves of another: `<p</s>ad>`.
    while (shorter := SPECIAL_TOKENS.sub("", cleaned)) != cleaned:
        cleaned = shorter
    return cleaned.strip()


def dialogue_of(prompt: str) -> str:
    """The text inside a prompt made by one of ``detox.tasks``; otherwise the prompt itself."""
    bare = prompt.strip()
    for task in TASKS.values():
        before, _, after = (part.strip() for part in task.template.partition("{text}"))
        inner = bare[len(before) : len(bare) - len(after)].strip()
        if bare.startswith(before) and bare.endswith(after) and inner:
            return inner
    return bare
