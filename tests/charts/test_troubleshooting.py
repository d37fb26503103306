"""The page on troubleshooting knows every reason that the operator gives, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from chart import ROOT

from lookalike_crds.failures import FAILURES
from lookalike_crds.switching import GATE_NOT_PASSED, NOT_CARRIED

OPERATOR = ROOT / "operator" / "lookalike_operator"
PAGE = ROOT / "docs" / "troubleshooting.md"
TABLE = ROOT / "docs" / "reference" / "failures.md"
"""Why a run failed; the page leads there."""

# Function: which of its arguments is the reason.
_REASON_OF = {"judged": 2, "_active": 1, "Cause": 0, "Trouble": 0, "Event": 1}
# Reasons that are not written out where a condition is made.
_PASSED_ON = {
    # Kubernetes' own, of a container that cannot be made.
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    # Of an index that cannot be asked.
    *("ApiKeyRefused", "CertificateRefused", "QdrantUnavailable"),
    # Of what is missing.
    *("SecretNotFound", "ConfigMapNotFound"),
    # Of a filled index that does not answer.
    *(NOT_CARRIED, GATE_NOT_PASSED),
    # The states of a run, and why one failed.
    *("Completed", "CompletedWithErrors"),
    *(row.reason for row in FAILURES if row.reason),
}
_NO_REASON = {
    # Names of conditions, kinds, engines, policies and strategies.
    *("Ready", "Stalled", "Degraded", "Available", "Progressing", "Ingested", "Paused"),
    *("True", "Delete", "Recreate", "Standalone"),
}


def reasons() -> Iterator[str]:
    modules = [ast.parse(path.read_text()) for path in sorted(OPERATOR.rglob("*.py"))]
    named = {name: value for module in modules for name, value in _constants(module)}
    for module in modules:
        for node in ast.walk(module):
            yield from _reasons_in(node, named)


def _constants(module: ast.Module) -> Iterator[tuple[str, str]]:
    """The module's own names of texts."""
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, str(node.value.value)


def _reasons_in(node: ast.AST, named: dict[str, str]) -> Iterator[str]:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return
    place = _REASON_OF.get(node.func.id)
    if place is None or len(node.args) <= place:
        return
    for part in ast.walk(node.args[place]):
        text = named.get(part.id) if isinstance(part, ast.Name) else None
        if isinstance(part, ast.Constant):
            text = str(part.value)
        if text is not None and re.fullmatch(r"[A-Z][A-Za-z]+", text):
            yield text


def documented(path: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    found = set(re.findall(r"`([A-Z][a-z]\w+|OOMKilled)`", text))
    return found | set(re.findall(r"^### (\w+)$", text, re.M))


def test_every_reason_is_explained() -> None:
    given = set(reasons()) | {row.reason for row in FAILURES if row.reason}
    assert len(given) > 40
    assert sorted(given - documented(PAGE) - documented(TABLE)) == []


def test_no_reason_is_explained_that_is_never_given() -> None:
    given = set(reasons()) | _PASSED_ON
    names = _NO_REASON | {"ModelReady", "IndexReady", "ScalingActive"}
    assert sorted(documented(PAGE) - given - names) == []


def test_every_remedy_that_links_to_a_page_links_to_one_that_exists() -> None:
    for page in sorted((ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_link_into_a_page_names_one_of_its_headings() -> None:
    for page in sorted((ROOT / "docs").glob("*.md")):
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", page.read_text()):
            if "://" in target:
                continue
            other = page.parent / target if target else page
            headings = re.findall(r"^#+ (.+)$", other.read_text(), re.M)
            slugs = {
                re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
            }
            assert anchor in slugs, f"{page.name}: {target}#{anchor}"
