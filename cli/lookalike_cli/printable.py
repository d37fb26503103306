"""Text of others made fit for a terminal: ids, metadata, errors and logs may hold any character.

Escape sequences move the cursor and forge lines, and direction marks such as U+202E make a name
read as another. They are shown as the escape that JSON has for them. What belongs to words is left
alone: spaces of every kind, the joiners of scripts and of emoji, and marks that have a shape.
"""

from __future__ import annotations

import unicodedata

_UNFIT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"
_WITH_A_SHAPE = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd"
"""Format characters that are drawn, such as the Arabic number sign."""
_KEPT = frozenset("\n\t" + _JOINERS + _WITH_A_SHAPE)


def printable(text: str) -> str:
    """The text with `\\u202e` and the like in the place of what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(_escaped(c) if _is_unfit(c) else c for c in text)


def printable_line(text: str) -> str:
    """The same for a value that stands within a line: its own line ends are shown, too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _is_unfit(character: str) -> bool:
    return unicodedata.category(character) in _UNFIT and character not in _KEPT


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
