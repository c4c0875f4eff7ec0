"""The folder to push to a Hugging Face Space, and whether it would run there.

    make space                       # build/space, checked
    make space SPACE_ARGS=--start    # and started, with nothing but requirements.txt (minutes)

The folder holds what the app needs and nothing else. Checked are the front matter of README.md,
the sizes that the Hub takes without LFS, secrets, and that every file is tracked as it is. With
``--start`` a virtual environment gets requirements.txt alone, as on Spaces, and the app must
answer from there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
NEEDED = ("app.py", "README.md", "LICENSE", "requirements.txt", "detox/", "hosting/", "labeling/")
# Pictures in README.md are shown on the Space's page of files.
PICTURES = re.compile(r"\]\((docs/[\w./-]+\.(?:png|svg))\)")
MOST_BYTES = 10 * 1024 * 1024
"""What the Hub takes of one file without LFS."""
MOST_WORDS = 60
"""Characters of ``short_description`` that the Hub takes."""
FRONT = {
    "title": str,
    "emoji": str,
    "colorFrom": str,
    "colorTo": str,
    "sdk": str,
    "sdk_version": str,
    "python_version": str,
    "app_file": str,
    "hf_oauth": bool,
    "hf_oauth_expiration_minutes": int,
    "license": str,
    "short_description": str,
    "models": list,
    "datasets": list,
    "tags": list,
}
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
SECRETS = {
    "a Hub token": re.compile(rb"\bhf_[A-Za-z0-9]{30,}"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an OpenAI key": re.compile(rb"\bsk-[A-Za-z0-9_-]{32,}"),
    "a GitHub token": re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{30,}"),
    "an AWS key": re.compile(rb"\bAKIA[0-9A-Z]{16}\b"),
}
PATIENCE = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="build/space", type=Path)
    parser.add_argument("--start", action="store_true", help="install it and open it as well")
    arguments = parser.parse_args()
    files = wanted(tracked(ROOT), (ROOT / "README.md").read_text(encoding="utf-8"))
    build(ROOT, files, arguments.output)
    found = problems(arguments.output)
    for problem in found:
        print(f"space: {problem}", file=sys.stderr)
    size = sum(path.stat().st_size for path in arguments.output.rglob("*") if path.is_file())
    print(f"{arguments.output}: {len(files)} files, {size / 1e6:.1f} MB")
    if found:
        return 2
    if arguments.start:
        seconds = start(arguments.output)
        print(
            f"Installed from requirements.txt alone, it answered {seconds:.0f} s after its start."
        )
    print(
        f"To push it: hf upload OWNER/SPACE {arguments.output} --repo-type space --delete '*'\n"
        "Then set the secret HF_TOKEN and the variable DETOX_KEEP=OWNER/DATASET, so that picks "
        "outlive restarts."
    )
    return 0


def tracked(root: Path) -> list[str]:
    """The files of the project, as git knows them."""
    said = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True, text=True
    )
    return [name for name in said.stdout.split("\0") if name and (root / name).is_file()]


def wanted(names: list[str], readme: str) -> list[str]:
    """Those of ``names`` that a Space needs."""
    pictures = set(PICTURES.findall(readme))
    return [name for name in names if name.startswith(NEEDED) or name in pictures]


def build(root: Path, names: list[str], folder: Path) -> None:
    """Copies ``names`` into a fresh ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, place)


def problems(folder: Path) -> list[str]:
    """A sentence for each thing that the Hub, or a stranger, must not get."""
    found = front_matter(folder)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, content = path.relative_to(folder), path.read_bytes()
        if len(content) > MOST_BYTES:
            found.append(f"{name} has {len(content) / 2**20:.1f} MB; above 10 it needs LFS.")
        found += [f"{name} holds {what}." for what, mark in SECRETS.items() if mark.search(content)]
        if path.suffix in (".pkl", ".pickle", ".pt", ".bin"):
            found.append(f"{name} may run code when it is read: ship safetensors.")
    return found


def front_matter(folder: Path) -> list[str]:
    """What is wrong with the settings on top of README.md."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    parts = text.split("---\n", 2)
    if len(parts) < 3 or parts[0]:
        return ["README.md has no front matter."]
    settings: dict[str, Any] = yaml.safe_load(parts[1]) or {}
    found = [
        f"README.md's front matter needs `{name}`, a {kind.__name__}."
        for name, kind in FRONT.items()
        if not isinstance(settings.get(name), kind)
    ]
    if len(str(settings.get("short_description", ""))) > MOST_WORDS:
        found.append(f"`short_description` has more than {MOST_WORDS} characters.")
    for name in ("colorFrom", "colorTo"):
        if settings.get(name) not in COLOURS:
            found.append(f"`{name}` must be one of {', '.join(COLOURS)}.")
    if not (folder / str(settings.get("app_file"))).is_file():
        found.append("`app_file` is not there.")
    pins = (folder / "requirements.txt").read_text(encoding="utf-8")
    if f"gradio=={settings.get('sdk_version')}\n" not in pins:
        found.append("`sdk_version` is not the gradio of requirements.txt.")
    return found


def start(folder: Path) -> float:
    """Seconds from the start of the app to its page, in an environment of its own."""
    with tempfile.TemporaryDirectory(prefix="space-") as scratch:
        place = Path(scratch)
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        python = place / "venv" / "bin" / "python"
        pins = str(folder / "requirements.txt")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", pins], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DETOX_")} | {
            "GRADIO_SERVER_PORT": str(port),
            "DETOX_CACHE": str(place / "cache"),
            "DETOX_DB": str(place / "labels.db"),
        }
        began = time.monotonic()
        app = subprocess.Popen([python, "app.py"], cwd=folder, env=environment)
        try:
            while time.monotonic() - began < PATIENCE:
                if app.poll() is not None:
                    raise SystemExit("space: the app ended before its page was there.")
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as page:
                        if page.status == 200:
                            return time.monotonic() - began
                except (urllib.error.URLError, OSError):
                    time.sleep(0.5)
            raise SystemExit("space: the app did not answer in time.")
        finally:
            app.terminate()
            app.wait()


if __name__ == "__main__":
    sys.exit(main())
