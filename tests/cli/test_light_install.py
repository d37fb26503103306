"""`pip install lookalike` in a fresh environment: small, and enough for what it promises."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
HEAVY = ("torch", "ray", "numpy", "PIL", "qdrant_client", "qdrant_edge", "open_clip", "fastapi")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a new virtual environment with the project as a wheel, not editable."""
    folder = tmp_path_factory.mktemp("light") / "venv"
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is not None:
        commands = [
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), str(PROJECT)],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", str(PROJECT)],
        ]
    for command in commands:
        subprocess.run(command, check=True, cwd=folder.parent)
    return folder / "bin"


def ran(environment: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(environment / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        cwd=environment,
    )


@pytest.mark.parametrize("module", HEAVY)
def test_nothing_heavy_is_installed(environment: Path, module: str) -> None:
    assert "No module named" in ran(environment, "python", "-c", f"import {module}").stderr


def test_help_works(environment: Path) -> None:
    shown = ran(environment, "lookalike", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "search" in shown.stdout


def test_a_file_can_be_validated(environment: Path) -> None:
    example = str(PROJECT / "examples" / "quickstart.yaml")
    shown = ran(environment, "lookalike", "validate", "-f", example)
    assert shown.returncode == 0, shown.stderr
    assert "similarity-retriever" in shown.stdout


def test_the_client_can_be_imported(environment: Path) -> None:
    shown = ran(environment, "python", "-c", "from lookalike import Lookalike, AsyncLookalike")
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize("command", [("status",), ("search", "mug"), ("down",)])
def test_commands_for_a_server_elsewhere_work(environment: Path, command: tuple[str, ...]) -> None:
    shown = ran(environment, "lookalike", *command)
    assert "Traceback" not in shown.stderr
    assert "pip install" not in shown.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("up", "-f", str(PROJECT / "examples" / "quickstart.yaml")),
        ("demo-catalogue", "--out", "x", "--count", "1"),
        ("gc",),
        ("apply", "-f", str(PROJECT / "examples" / "quickstart.yaml")),
        ("init", str(PROJECT / "examples")),
        ("ingest", "--dry-run", "-f", str(PROJECT / "examples" / "quickstart.yaml")),
    ],
)
def test_commands_that_need_more_say_how_to_get_it(
    environment: Path, command: tuple[str, ...]
) -> None:
    shown = ran(environment, "lookalike", *command)
    assert shown.returncode == 1
    assert "pip install 'lookalike[serving]'" in shown.stderr
