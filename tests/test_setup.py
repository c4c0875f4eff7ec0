"""The files that set the project up agree with each other: Makefile, pins, package and README."""

import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENT_FILES = sorted(path.name for path in ROOT.glob("requirements*.txt"))


def requirements(name: str) -> list[Requirement]:
    """Read the packages one requirements file lists itself; comments and `-r` lines left out."""
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-r ")]


def pins(name: str) -> dict[str, str]:
    """Map each package of a requirements file to the version it is pinned to."""
    return {
        canonicalize_name(requirement.name): next(iter(requirement.specifier)).version
        for requirement in requirements(name)
    }


@pytest.fixture(scope="module")
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def readme() -> str:
    path = ROOT / "README.md"
    if not path.exists():
        pytest.skip("there is no README.md yet")
    return path.read_text()


@pytest.fixture(scope="module")
def front_matter(readme: str) -> dict:
    match = re.match(r"---\n(.*?)\n---\n", readme, re.DOTALL)
    assert match, "README.md must open with the Spaces front matter"
    return yaml.safe_load(match[1])


def makefile_targets() -> set[str]:
    """Return the targets a person can ask for, as the Makefile declares them."""
    line = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert line
    return set(line[1].split())


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_alone_lists_every_target():
    run = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^make (\w+) +(\S.*)$", run.stdout, re.MULTILINE))
    assert listed.keys() == makefile_targets()


def test_every_target_that_is_no_file_is_declared_phony():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(targets) == makefile_targets()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_a_missing_python_is_one_sentence(tmp_path: Path):
    run = subprocess.run(
        ["make", "app", f"VENV={tmp_path / 'venv'}", "PYTHON=no-such-python"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "Python 3.11 or newer is needed and 'no-such-python' is not one" in run.stderr


@pytest.mark.parametrize("name", REQUIREMENT_FILES)
def test_requirements_are_pinned(name: str):
    loose = [
        str(requirement)
        for requirement in requirements(name)
        if [specifier.operator for specifier in requirement.specifier] != ["=="]
        or "*" in str(requirement.specifier)
    ]
    assert not loose


@pytest.mark.parametrize("name", REQUIREMENT_FILES)
def test_requirements_name_packages_and_no_addresses(name: str):
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "index-url" not in text


def test_no_package_is_listed_twice():
    names = [
        canonicalize_name(requirement.name)
        for file in REQUIREMENT_FILES
        for requirement in requirements(file)
    ]
    assert sorted(set(names)) == sorted(names)


def test_every_dependency_of_the_package_is_pinned_within_its_range(pyproject: dict):
    pinned = pins("requirements.txt")
    for dependency in map(Requirement, pyproject["project"]["dependencies"]):
        version = pinned.get(canonicalize_name(dependency.name))
        assert version, f"{dependency.name} is missing from requirements.txt"
        assert dependency.specifier.contains(version), f"{version} is outside {dependency}"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_pins_are_complete(name: str):
    """What a pinned package needs on every platform is pinned too, at a version it accepts."""
    pinned = pins("requirements.txt") | pins(name)
    for package, pin in pins(name).items():
        if Version(metadata.version(package)).public != pin:
            continue  # this environment is not the pinned one and cannot tell
        for need in map(Requirement, metadata.requires(package) or []):
            if need.marker or need.name == "pip":  # pip comes with the virtual environment
                continue
            version = pinned.get(canonicalize_name(need.name))
            assert version, f"{package} needs {need}, which {name} does not pin"
            assert need.specifier.contains(version), f"{package} needs {need}, not {version}"


def test_the_pins_leave_room_for_the_extras_that_spaces_adds():
    """Spaces installs requirements.txt together with `gradio[oauth,mcp]`."""
    pinned = pins("requirements.txt")
    for need in map(Requirement, metadata.requires("gradio") or []):
        extras = need.marker and any(need.marker.evaluate({"extra": e}) for e in ("oauth", "mcp"))
        version = pinned.get(canonicalize_name(need.name))
        if extras and version:
            assert need.specifier.contains(version), f"gradio needs {need}, not {version}"


def test_front_matter_is_what_spaces_needs(front_matter: dict, pyproject: dict):
    assert front_matter["sdk"] == "gradio"
    assert front_matter["sdk_version"] == pins("requirements.txt")["gradio"]
    python = front_matter["python_version"]
    assert isinstance(python, str), "quote python_version, or YAML reads it as a number"
    assert SpecifierSet(pyproject["project"]["requires-python"]).contains(python)
    assert front_matter["app_file"] == "app.py"
    assert (ROOT / front_matter["app_file"]).is_file()


def test_the_readme_names_make_targets_that_exist(readme: str):
    named = set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", readme, re.MULTILINE))
    assert {first or second for first, second in named} <= makefile_targets()
