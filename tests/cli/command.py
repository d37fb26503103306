"""Runs the `lookalike` command in this process, as a shell would."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from lookalike_cli import main
from lookalike_cli.printing import console, notices


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ran:
        self._monkeypatch.setattr(sys, "argv", ["lookalike", *map(str, arguments)])
        # Libraries that tests of this process use may set it, and tables are as wide as it says.
        self._monkeypatch.delenv("COLUMNS", raising=False)
        console.cache_clear()  # consoles keep the stdout they began with
        notices.cache_clear()
        self._capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)
