"""Write `detox/embedded/tweets.jsonl`, the second task's own examples: short posts and their mood.

    python dialogues/tweets.py

One post a line in `dialogues/banks/tweets/<label>.txt`, written by hand in the manner of the tweets
that sentiment data sets hold. Fields are those of `mteb/tweet_sentiment_extraction`; the split is
by a hash of the text, so that a post more or less moves no other.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BANKS = ROOT / "dialogues" / "banks" / "tweets"
OUT = ROOT / "detox" / "embedded" / "tweets.jsonl"
LABELS = ("positive", "negative", "neutral")
TEST_SHARE = 0.25
VALIDATION_SHARE = 0.15


def rows() -> list[dict[str, str]]:
    """One JSON object a post, ordered by a hash, so that labels are mixed."""
    found = []
    for label in LABELS:
        for text in (BANKS / f"{label}.txt").read_text(encoding="utf-8").splitlines():
            digest = hashlib.sha256(text.encode()).hexdigest()
            place = int(digest[:16], 16) / 2**64
            split = "train"
            if place < TEST_SHARE + VALIDATION_SHARE:
                split = "test" if place < TEST_SHARE else "validation"
            found.append(
                {"id": f"tweet-{digest[-6:]}", "text": text, "label_text": label, "split": split}
            )
    # the end of the hash: its beginning decides the split
    return sorted(found, key=lambda row: row["id"])


def main(arguments: Sequence[str]) -> int:
    """Writes the file, to the path in ``arguments`` if there is one."""
    out = Path(arguments[0]) if arguments else OUT
    lines = [json.dumps(row, ensure_ascii=False) for row in rows()]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
