"""A log line is one JSON object, whatever is in it."""

from __future__ import annotations

import json
import logging

from lookalike_operator.logs import JsonFormatter, TextFormatter


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("lookalike", logging.INFO, "x.py", 1, "made %s", ("x\ny",), None)
    vars(made).update(extra)
    return made


def test_what_a_call_gives_as_extra_is_in_the_object() -> None:
    line = JsonFormatter().format(record(key="Retriever/n/x", seconds=0.5, because=["changed"]))
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == "made x\ny"
    assert entry["key"] == "Retriever/n/x"
    assert entry["seconds"] == 0.5
    assert entry["because"] == ["changed"]
    assert entry["level"] == "INFO"


def test_a_traceback_is_in_the_object_too() -> None:
    try:
        raise ValueError("no")
    except ValueError as error:
        made = record()
        made.exc_info = (type(error), error, error.__traceback__)
    assert "ValueError: no" in json.loads(JsonFormatter().format(made))["error"]


def test_for_people_the_resource_stands_before_the_message() -> None:
    assert "Retriever/n/x: made" in TextFormatter().format(record(key="Retriever/n/x"))
