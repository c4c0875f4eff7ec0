"""What would be pushed to a Space: enough, and nothing that should stay at home."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.space import ROOT, build, front_matter, problems, tracked, wanted

FILES = wanted(tracked(ROOT), (ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "space"
    build(ROOT, FILES, folder)
    return folder


@pytest.fixture
def space(built: Path, tmp_path: Path) -> Path:
    """A copy of its settings that a test may spoil."""
    for name in ("README.md", "requirements.txt", "app.py"):
        shutil.copyfile(built / name, tmp_path / name)
    return tmp_path


def test_what_ships_can_be_pushed(built: Path) -> None:
    assert problems(built) == []
    assert {path.name for path in built.iterdir()} <= {
        *(
            "app.py",
            "README.md",
            "LICENSE",
            "requirements.txt",
            "detox",
            "hosting",
            "labeling",
            "docs",
        )
    }
    assert not list(built.rglob("__pycache__"))


def test_everything_the_app_imports_is_there() -> None:
    sources = {name for name in tracked(ROOT) if name.endswith(".py")}
    needed = {name for name in sources if name.startswith(("detox/", "labeling/"))} | {"app.py"}
    assert needed <= set(FILES)
    for name in needed:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "import benchmarks" not in text and "from benchmarks" not in text, name
        assert "from dialogues" not in text and "from tests" not in text, name


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("hf_oauth: true", "hf_oauth: yes please", "needs `hf_oauth`, a bool"),
        ("colorFrom: yellow", "colorFrom: beige", "`colorFrom` must be one of"),
        ("app_file: app.py", "app_file: main.py", "`app_file` is not there"),
        ("sdk_version: ", "sdk_version: 1", "is not the gradio of requirements.txt"),
        ("short_description: ", f"short_description: {'very ' * 20}", "more than 60 characters"),
        ("---\ntitle", "title", "has no front matter"),
        ("license: apache-2.0\n", "", "needs `license`"),
    ],
)
def test_wrong_front_matter_is_named(space: Path, old: str, new: str, sentence: str) -> None:
    readme = space / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert old in text
    readme.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert any(sentence in said for said in front_matter(space))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("detox/keys.py", b"TOKEN = 'hf_" + b"a" * 34 + b"'", "holds a Hub token"),
        ("id_rsa", b"-----BEGIN RSA PRIVATE KEY-----", "holds a private key"),
        ("detox/big.json", b"x" * (10 * 2**20 + 1), "needs LFS"),
        ("detox/model.pkl", b"", "may run code"),
    ],
)
def test_what_must_stay_at_home_is_named(
    space: Path, name: str, content: bytes, sentence: str
) -> None:
    path = space / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert any(name in said and sentence in said for said in problems(space))
