"""One table says which reasons wait for a person, and no reason is without an answer."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import lookalike_operator
from lookalike_operator.plan.conditions import _UNDER_WAY
from lookalike_operator.plan.who_acts import WHO_ACTS, waits_for_a_person

OPERATOR = Path(lookalike_operator.__file__).parent


def reasons_given() -> set[str]:
    """First arguments of every `Cause(…)` and `Trouble(…)`."""
    found: set[str] = set()
    for path in OPERATOR.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            if node.func.id in ("Cause", "Trouble"):
                found |= {
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant)
                    and isinstance(part.value, str)
                    and re.fullmatch(r"[A-Z][A-Za-z]+", part.value)
                }
    return found


def test_every_cause_has_its_place_in_the_table() -> None:
    given = reasons_given()
    assert len(given) > 30
    assert sorted(given - set(WHO_ACTS)) == []


def test_what_is_usual_on_the_way_waits_for_nobody() -> None:
    assert not any(map(waits_for_a_person, _UNDER_WAY))


def test_what_nobody_knows_is_taken_to_pass() -> None:
    assert not waits_for_a_person("NodeShutdown")
