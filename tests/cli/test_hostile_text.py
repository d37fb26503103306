"""Ids, metadata and errors of a server reach a terminal without what it would obey."""

from __future__ import annotations

import json

import pytest
from command import Command
from scripted_server import Reply, scripted

HOSTILE = "\x1b]0;x\x07\u202egnp.\x9b31m\u2066"
RETRIEVERS = Reply(body={"items": [{"name": "shop"}], "next_cursor": None})
RESULT = {
    "document_id": f"id{HOSTILE}\nforged line",
    "score": 0.5,
    "metadata": {f"key{HOSTILE}": f"value{HOSTILE}", "[red]tags[/red]": [HOSTILE]},
    "collection": "c",
    "image_url": "/x",
}
RESULTS = Reply(body={"results": [RESULT], "took_ms": 1.0, "stages": [], "warnings": [HOSTILE]})
PROBLEM = Reply(
    status=422,
    body={
        "detail": f"detail {HOSTILE}",
        "code": "invalid-request",
        "errors": [{"path": "a", "message": "b"}, {"path": HOSTILE, "message": HOSTILE}],
    },
)


def obeyed(text: str) -> list[str]:
    return [c for c in text if c in "\x1b\x07\x9b\r\u202e\u2066"]


@pytest.mark.parametrize("output", ["text", "json"])
def test_results_are_shown_escaped(lookalike: Command, output: str) -> None:
    with scripted(RETRIEVERS, RESULTS) as server:
        ran = lookalike("search", "mug", "--url", server.url, "--output", output)
    assert ran.code == 0
    assert obeyed(ran.out + ran.err) == []
    assert "\\u202e" in ran.out
    if output == "json":
        assert json.loads(ran.out)["results"][0]["metadata"] == RESULT["metadata"]
    else:
        assert not any(line.startswith("forged") for line in ran.out.splitlines())
        assert "[red]tags" in ran.out


def test_errors_are_shown_escaped(lookalike: Command) -> None:
    with scripted(RETRIEVERS, PROBLEM) as server:
        ran = lookalike("search", "mug", "--url", server.url)
    assert ran.code == 4
    assert obeyed(ran.err) == []
    assert "\\u202e" in ran.err


def test_colours_of_our_own_still_reach_a_terminal() -> None:
    from lookalike_cli.printing import notices

    with notices().capture() as captured:
        notices().print("[bold]ours[/bold] \x1b[31mtheirs")
    assert "theirs" in captured.get()
    assert "\x1b[31m" not in captured.get()
