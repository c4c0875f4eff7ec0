"""The posts that ship for the second task."""

from collections import Counter
from pathlib import Path

from detox.data import EMBEDDED_FOLDER, load_dialogues, prompts
from detox.tasks import SENTIMENT
from dialogues import tweets


def test_the_file_is_what_the_builder_writes(tmp_path: Path) -> None:
    assert tweets.main([str(tmp_path / "tweets.jsonl")]) == 0
    built = (tmp_path / "tweets.jsonl").read_bytes()
    assert built == (EMBEDDED_FOLDER / SENTIMENT.embedded).read_bytes()


def test_every_label_is_in_every_split() -> None:
    for split, least in (("train", 20), ("validation", 4), ("test", 8)):
        posts = load_dialogues(split=split, task=SENTIMENT)
        labels = Counter(answer for (answer,) in posts["references"])
        assert set(labels) == set(SENTIMENT.labels)
        assert min(labels.values()) >= least


def test_no_post_comes_twice_or_is_long() -> None:
    posts = load_dialogues(task=SENTIMENT)
    texts = posts["dialogue"]
    assert len(set(texts)) == len(set(posts["id"])) == len(texts) == 120
    assert all(5 <= len(text) <= 280 for text in texts)


def test_posts_become_prompts() -> None:
    posts = load_dialogues(split="test", task=SENTIMENT)
    prompt = prompts(posts, SENTIMENT)[0]
    assert posts[0]["dialogue"] in prompt and prompt.endswith("\n\nSentiment:\n")
