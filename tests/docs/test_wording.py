"""Phrases that are not to come back into what people read.

Each stands for a fuller one: "None where there is none" for "None if there is none", "the path
where unset" for "Default: the path".
"""

from __future__ import annotations

import re

import pytest
from tests.docs import pointers

PHRASES = {
    r"\bwhere (unset|left out|not given)\b": "say what the default is: `Default: …`",
    r"\b(None|True|False|Raises \w+) where\b": "write `if`",
    r"\banew\b": "write `again`",
    r"\b(lie|lies|lay) beside\b": "write `is next to` or `is stored with`",
    r"\bnobody thought of\b": "name the reason",
    r"\bamiss\b": "write `wrong`",
    r"\b[Gg]o(es)? on (from|to|with)\b": "write `continue`",
    r"\b(made|created|absent|cut) where\b": "write `if`",
    r"\bon (its|the) way out\b": "write `at the end`",
}
ABOUT = ("cli/", "crds/", "docs/", "operator/", "sdk/", "serving/")
"""Folders whose texts and messages are read by people outside of the project."""


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_is_not_used(phrase: str) -> None:
    found = [
        f"{name}:{number}: {PHRASES[phrase]}"
        for name in sorted(pointers.tracked())
        if name.startswith(ABOUT) and name.endswith((".py", ".md"))
        for number, line in enumerate((pointers.ROOT / name).read_text().splitlines(), 1)
        if re.search(phrase, line)
    ]
    assert found == []


def test_a_phrase_is_found_in_a_sentence() -> None:
    assert any(re.search(phrase, "None where there is no file.") for phrase in PHRASES)
    assert not any(re.search(phrase, "None if there is no file.") for phrase in PHRASES)
