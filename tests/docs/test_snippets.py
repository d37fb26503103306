"""The snippets of README.md and docs/ run as they stand against what `make quickstart` starts.

Each fenced block of `console` or `python` runs in a folder of its own that has what the docs take
for granted: photo.jpg, mug.jpg and the like, and a document mug-0042. The Python of one page goes
on from block to block. A block that cannot run here has a comment before it that says why:

    <!-- not run: needs a cluster -->

The docs' port is replaced by one that is free.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.ports import free_port

from lookalike import Lookalike

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PICTURES = 100
"""The smallest catalogue with a red striped mug, which the quickstart looks for."""
DOCS_PORT = 8000
QDRANT_PORT = 6333

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?```(?P<kind>console|python)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    page: Path
    line: int
    kind: str
    text: str
    reason: str | None
    """Why it cannot run."""

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text()
    return [
        Snippet(page, text.count("\n", 0, b.start("text")) + 1, b["kind"], b["text"], b["reason"])
        for b in _BLOCK.finditer(text)
    ]


SNIPPETS = [snippet for page in PAGES for snippet in snippets(page)]


def commands(console: str) -> list[str]:
    """What a person types of a console: lines after `$ `, up to where the shell would run them."""
    found: list[str] = []
    typing = False
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append(line.removeprefix("$ "))
        elif typing:
            found[-1] += "\n" + line
        else:
            continue  # what the command prints
        whole = subprocess.run(["bash", "-n"], input=found[-1], text=True, capture_output=True)
        typing = whole.returncode != 0 or line.endswith("\\")
    return found


def python_until(snippet: Snippet) -> str:
    """The Python of a page down to a block, whose own lines keep their numbers for tracebacks."""
    before = [
        each.text
        for each in snippets(snippet.page)
        if each.kind == "python" and not each.reason and each.line < snippet.line
    ]
    return "\n".join([*before, snippet.text])


@dataclass(frozen=True)
class Quickstart:
    folder: Path
    port: int

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        scripts = str(Path(sys.executable).parent)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOOKALIKE_")}
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**environment, "PATH": os.pathsep.join((scripts, environment["PATH"]))},
            capture_output=True,
            text=True,
            check=False,
        )

    def here(self, text: str) -> str:
        return text.replace(f"127.0.0.1:{DOCS_PORT}", f"127.0.0.1:{self.port}")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quickstart]:
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "examples").mkdir()
    for name in ("quickstart.yaml", "quickstart.sh"):
        shutil.copy(ROOT / "examples" / name, folder / "examples")
    here = Quickstart(folder, free_port())
    script = ("bash", "examples/quickstart.sh", str(Path(sys.executable).parent))
    try:
        started = here.run(
            *script, "examples/catalogue", ".lookalike", str(here.port), str(PICTURES)
        )
        assert started.returncode == 0, started.stdout + started.stderr
        _take_for_granted(here)
        yield here
    finally:
        here.run("lookalike", "down")


def _take_for_granted(here: Quickstart) -> None:
    """The files and the document that the docs speak of without making them."""
    pictures = sorted((here.folder / "examples" / "catalogue" / "images").glob("*.jpg"))
    names = ["photo.jpg", "mug.jpg", "reference-image.jpg", "a.jpg", "b.jpg"]
    (here.folder / "photos").mkdir()
    names += ["photos/first.jpg", "photos/second.jpg"]
    for picture, name in zip(pictures, names, strict=False):
        shutil.copy(picture, here.folder / name)
    shutil.copy(here.folder / "examples" / "quickstart.yaml", here.folder / "my.yaml")
    with Lookalike(f"http://127.0.0.1:{here.port}") as client:
        client.documents.upload("catalogue", here.folder / "mug.jpg", document_id="mug-0042")


@pytest.mark.parametrize("snippet", [pytest.param(s, id=s.name) for s in SNIPPETS if not s.reason])
def test_a_snippet_runs_as_it_stands(quickstart: Quickstart, snippet: Snippet) -> None:
    if snippet.kind == "python":
        ran = quickstart.run(sys.executable, "-c", quickstart.here(python_until(snippet)))
    else:
        # An answer that says no must not pass for one that says yes.
        first = 'set -euo pipefail; curl() { command curl --fail-with-body "$@"; }\n'
        script = first + "\n".join(commands(snippet.text))
        ran = quickstart.run("bash", "-c", quickstart.here(script))
    assert ran.returncode == 0, f"{snippet.name}\n{ran.stdout}\n{ran.stderr}"


@pytest.mark.parametrize("snippet", [pytest.param(s, id=s.name) for s in SNIPPETS if s.reason])
def test_a_snippet_that_cannot_run_is_shell_and_says_why(snippet: Snippet) -> None:
    assert commands(snippet.text), f"{snippet.name} shows no command"
    pytest.skip(f"{snippet.name}: {snippet.reason}")


def test_the_docs_have_snippets_of_both_kinds_that_run() -> None:
    kinds = [s.kind for s in SNIPPETS if not s.reason]
    assert kinds.count("console") >= 5
    assert kinds.count("python") >= 4


def test_no_page_has_a_block_of_a_kind_that_nobody_runs() -> None:
    kinds = {k for page in PAGES for k in re.findall(r"^```(\w+)$", page.read_text(), re.MULTILINE)}
    assert kinds == {"console", "python", "yaml", "json", "promql", "toml"}


def test_every_block_of_toml_is_valid() -> None:
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    assert blocks
    for block in blocks:
        tomllib.loads(block)


def test_every_page_asks_the_same_port() -> None:
    asked = {
        (page.name, port)
        for page in PAGES
        for port in re.findall(r"(?:127\.0\.0\.1|localhost):(\d+)", page.read_text())
    }
    assert {port for _, port in asked} - {str(QDRANT_PORT)} == {str(DOCS_PORT)}, asked


def test_commands_are_read_as_a_shell_reads_them() -> None:
    console = (
        "$ a \\\n    b\nprinted\n$ c '{\n  d}'\nprinted\n$ while read -r x; do\n    e\n  done\n"
    )
    assert commands(console) == ["a \\\n    b", "c '{\n  d}'", "while read -r x; do\n    e\n  done"]
