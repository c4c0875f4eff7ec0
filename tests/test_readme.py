"""The README tells the truth: every command, path, setting and file in it exists."""

import re
import shlex
import subprocess
from datetime import date
from pathlib import Path

import pytest

import detox.cli
import labeling.cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))}
COMMAND = re.compile(r"^(python -m (?:detox|labeling) .+?|make \w+)(?:\s+#.*)?$", re.MULTILINE)
COMMANDS = [
    command.strip()
    for text in (README, *PAGES.values())
    for command in COMMAND.findall(text.replace("\\\n", " "))
]


def test_there_are_commands_to_check() -> None:
    assert len([c for c in COMMANDS if c.startswith("python")]) >= 12
    assert {"make app", "make test"} <= {c.strip() for c in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_understood(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        targets = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{words[1]}:", targets, re.MULTILINE)
        return
    package, arguments = words[2], words[3:]
    if package == "detox":
        parsed = detox.cli.parser().parse_args(arguments)
    else:
        parsed = labeling.cli.parser(arguments).parse_args(arguments)
    assert parsed is not None


def test_every_named_setting_is_read_somewhere() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("detox", "hosting", "labeling")
        for path in (ROOT / folder).rglob("*.py")
    ) + (ROOT / "app.py").read_text(encoding="utf-8")
    named = set(re.findall(r"`(DETOX_[A-Z_]+)`", README))
    assert named
    # GRADIO_SERVER_PORT is gradio's own
    assert {name for name in named if name not in sources} == set()


def test_linked_files_exist() -> None:
    for place, text in ((ROOT, README), *((path.parent, text) for path, text in PAGES.items())):
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        assert [link for link in links if not (place / link).exists()] == []


def tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def test_the_tree_names_every_module() -> None:
    tree = README.split("## What is where", 1)[1].split("```", 2)[1]
    modules = [
        Path(name)
        for name in tracked()
        if name.endswith((".py", ".css", ".js")) and not name.startswith("tests/")
    ]
    missing = [
        str(path) for path in modules if path.name != "__init__.py" and path.name not in tree
    ]
    assert missing == []


def test_the_tree_names_nothing_that_is_gone() -> None:
    tree = README.split("## What is where", 1)[1].split("```", 2)[1]
    named = re.findall(r"[\w-]+\.(?:py|css|js|jsonl|sh|md|txt|toml)\b", tree)
    names = {Path(name).name for name in tracked()}
    assert [name for name in named if name not in names] == []


def test_a_version_has_its_notes_and_the_same_number_everywhere() -> None:
    version = detox.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(.+?)\]\((.+?)\) - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    number, notes, day = released[0]
    assert number == version
    told = (ROOT / notes).read_text(encoding="utf-8")
    assert told.startswith(f"# Detox Arena {version}\n")
    assert f"{date.fromisoformat(day):%-d %B %Y}" in told
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
