"""Records of CSV, each within bounds: what is wrong with one is told of it alone."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

MAX_ROW = 1024 * 1024
"""Characters of one row, and of one cell."""
_MAX_ROW_LINES = 1000
"""Lines that one CSV row may have within quotes."""
# The standard library's own limit is a setting of the whole process, and lower.
csv.field_size_limit(MAX_ROW)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file of text."""

    number: int
    text: str
    """With its end; cut if it is longer than MAX_ROW."""
    encoding: str
    """Its name for people."""

    @property
    def place(self) -> str:
        return f"line {self.number:,}"

    @property
    def fault(self) -> str | None:
        if len(self.text) > MAX_ROW:
            return f"is longer than {MAX_ROW:,} characters"
        return None if is_text(self.text) else not_text(self.encoding)


def not_text(encoding: str) -> str:
    return f"is not {encoding} text: save the file as UTF-8"


def is_text(text: str) -> bool:
    """Whether no byte of it was undecodable."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Records:
    """Cells with the line that each record begins on; or, in place of cells, what is wrong.

    A record goes over several lines while a quote is open. If it never closes, or not within
    bounds, the first line is at fault, and reading continues with the line after it.
    """

    def __init__(self, lines: Iterator[Line], separator: str) -> None:
        self._source = lines
        self._separator = separator
        self._again: deque[Line] = deque()
        self._taken: list[Line] = []
        self._ended = False

    def __iter__(self) -> Iterator[tuple[Line, list[str] | str]]:
        while (line := self._line()) is not None:
            if '"' not in line.text:  # as most are: a split says the same as a CSV reader
                text = line.text.rstrip("\r\n")
                yield line, line.fault or (text.split(self._separator) if text else [])
                continue
            self._again.appendleft(line)
            self._taken = []
            self._ended = False
            fault: str | None
            cells: list[str] = []
            try:
                cells = next(csv.reader(self._feed(), delimiter=self._separator))
            except (csv.Error, _TooLong) as error:
                fault = f"is not CSV: {error}"
            else:
                fault = self._fault(cells)
            if not fault:
                yield line, cells
                continue
            self._again.extendleft(reversed(self._taken[1:]))
            yield line, line.fault or fault

    def _line(self) -> Line | None:
        return self._again.popleft() if self._again else next(self._source, None)

    def _feed(self) -> Iterator[str]:
        size = 0
        while True:
            line = self._line()
            if line is None:
                self._ended = True
                return
            self._taken.append(line)
            size += len(line.text)
            if size > MAX_ROW or len(self._taken) > _MAX_ROW_LINES:
                raise _TooLong(
                    f"the row is longer than {MAX_ROW:,} characters or {_MAX_ROW_LINES:,} lines, "
                    "or a quote is not closed"
                )
            yield line.text

    def _fault(self, cells: list[str]) -> str | None:
        if self._ended and self._is_open():
            return "is not CSV: a quote is opened and never closed"
        return None if all(map(is_text, cells)) else not_text(self._taken[0].encoding)

    def _is_open(self) -> bool:
        """Whether a quote is open at the end."""
        lines = [line.text for line in self._taken]
        try:
            list(csv.reader(lines, delimiter=self._separator, strict=True))
        except csv.Error as error:
            return "unexpected end of data" in str(error)
        return False


class _TooLong(Exception):
    """A CSV row went beyond its bounds."""
