"""What the repository's texts point at: links and their anchors, files, modules, chores of `make`.

A text is a line that a person reads: of Markdown, of a comment, of a docstring. Code is left to the
tools that run it.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

ELSEWHERE = frozenset(
    {"colours.py", "./colours.py", "setup_worker.py", "uv.lock", "examples/catalogue"}
)
"""What the texts name and git does not have: others' files, and what the quickstart draws."""

PACKAGES = {
    "lookalike": "sdk/python/lookalike",
    "lookalike_cli": "cli/lookalike_cli",
    "lookalike_crds": "crds/lookalike_crds",
    "lookalike_operator": "operator/lookalike_operator",
    "lookalike_serving": "serving/lookalike_serving",
}

ADR_STATUS = re.compile(
    r"(Accepted|Proposed) on \d{4}-\d\d-\d\d(, revised on \d{4}-\d\d-\d\d)?"
    r"(, replaced by \[\d{4}\]\(.+\))?\."
)
"""The line under the title of a page in docs/adr."""

_FILE = re.compile(
    r"(?<![\w/.{}<>$*:-])((?:[\w.-]+/)*[\w-]+\.(?:py|md|sh|js|css|html|toml|lock))\b(?!/)"
)
_PATH = re.compile(r"(?<![\w/.{}<>$*:@-])((?:[\w.-]+/)+[\w.-]*)(?![\w*{<$…])")
_MODULE = re.compile(r"(?<![\w./-])(lookalike(?:_\w+)?(?!\.dev\b|\.yaml\b)(?:\.\w+)+)")
_CHORE = re.compile(r"(?:`|\$ )make ((?:[a-z][a-z0-9-]*\b(?![-…]) ?)+)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


class Line(NamedTuple):
    file: str
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


@cache
def tracked() -> frozenset[str]:
    """Every file that git knows or would take: the working tree without what is ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return frozenset(name for name in listing.splitlines() if (ROOT / name).is_file())


@cache
def _ends() -> frozenset[str]:
    """Every file and folder by its path and each end of it: `plan/names.py`, `names.py`."""
    found = set()
    for name in tracked():
        parts = PurePosixPath(name).parts
        for end in range(1, len(parts) + 1):
            found.update("/".join(parts[start:end]) for start in range(end))
    return frozenset(found)


def texts() -> Iterator[Line]:
    for name in sorted(tracked()):
        if "/go/" in name or "golden" in name:
            continue
        if name.endswith(".md"):
            yield from _markdown(name)
        elif name.endswith(".py"):
            yield from _python(name)
        elif name.endswith((".yaml", ".toml", ".sh")) or PurePosixPath(name).name == "Makefile":
            yield from _comments(name)


def _markdown(name: str) -> Iterator[Line]:
    for number, text in enumerate((ROOT / name).read_text().splitlines(), 1):
        yield Line(name, number, text)


def _comments(name: str) -> Iterator[Line]:
    for number, text in enumerate((ROOT / name).read_text().splitlines(), 1):
        if (at := text.find("#")) >= 0:
            yield Line(name, number, text[at:])


def _python(name: str) -> Iterator[Line]:
    source = (ROOT / name).read_text()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Line(name, token.start[0], token.string)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                for offset, line in enumerate(text.splitlines()):
                    yield Line(name, node.lineno + offset, line)
            case _:
                pass


def files(line: Line) -> list[str]:
    """Files and folders that a text names, by a source file's suffix or from a top folder."""
    if "://" in line.text:
        return []
    below = [path for path in _PATH.findall(line.text) if path.split("/")[0] in _top_folders()]
    return [name for name in [*_FILE.findall(line.text), *below] if name not in ELSEWHERE]


@cache
def _top_folders() -> frozenset[str]:
    return frozenset(name.split("/")[0] for name in tracked() if "/" in name)


def is_there(name: str, near: str) -> bool:
    """Whether there is such a file or folder: from the text's folder or from any other."""
    path = name.rstrip("/.")
    if re.fullmatch(r"docs/adr/\d{4}", path):  # a decision, by its number
        return any(ROOT.glob(f"{path}-*.md"))
    return path in _ends() or (ROOT / near).parent.joinpath(path).exists()


def modules(line: Line) -> list[str]:
    return [name for name in _MODULE.findall(line.text) if name.split(".")[0] in PACKAGES]


def is_module(dotted: str) -> bool:
    """Whether the longest part of the name that is a module defines what follows it, or the name
    is that of a group of entry points."""
    if dotted in entry_point_groups():
        return True
    package, *parts = dotted.split(".")
    place = ROOT / PACKAGES[package]
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    if parts and (place / f"{parts[0]}.py").is_file():
        place /= f"{parts.pop(0)}.py"
    if not parts:
        return True
    source = place if place.is_file() else place / "__init__.py"
    return source.is_file() and re.search(rf"\b{parts[0]}\b", source.read_text()) is not None


@cache
def entry_point_groups() -> frozenset[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return frozenset(project["entry-points"])


def chores(line: Line) -> list[str]:
    return [name for run in _CHORE.findall(line.text) for name in run.split()]


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def links(line: Line) -> list[str]:
    """The relative links of a line of Markdown."""
    if not line.file.endswith(".md"):
        return []
    return [
        link
        for link in _LINK.findall(line.text)
        if "://" not in link and not link.startswith("mailto:")
    ]


def leads_somewhere(link: str, file: str) -> bool:
    """Whether the file of a relative link is there, and has the heading that the anchor names."""
    path, _, anchor = link.partition("#")
    target = (ROOT / file).parent.joinpath(path).resolve() if path else ROOT / file
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target.read_text()))


def anchors(markdown: str) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", markdown)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        again = 0
        while (name := f"{slug}-{again}" if again else slug) in found:
            again += 1
        found.add(name)
    return frozenset(found)
