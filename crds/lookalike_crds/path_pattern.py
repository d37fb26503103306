"""Metadata from paths: `{kind}/{year}/{id}.jpg` against `shoes/2024/7.jpg`.

    {name}   a text within one folder's or file's name, as short as what follows allows
    *        any text within one name; what it stands for is not kept
    **/      any folders, once in a pattern

A file's suffix – what follows the last dot of its name – is matched on its own, so `{id}.*` finds
`a.b` in `a.b.jpg`. Nothing is tried twice: a match takes time in proportion to the path's length.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_LENGTH = 512
SHAPE = r"^[^{}\\]*(\{[A-Za-z][A-Za-z0-9_]*\}[^{}\\]*)+$"
"""What the API server's schema checks; the rest is checked in Python."""
RESERVED = ("exif", "file")
"""Keys that `metadata.exif` and `metadata.fileInfo` fill."""
_NAME = re.compile(r"\{([A-Za-z][A-Za-z0-9_]{0,63})\}")
_TOKENS = re.compile(r"(\{[^{}]*\}|\*+)")

Match = Callable[[str], dict[str, str] | None]


def checked(pattern: str) -> str:
    """The pattern itself. Raises ValueError with what is wrong with it."""
    compiled(pattern)
    return pattern


def names_of(pattern: str) -> tuple[str, ...]:
    """The names of its parts, in their order. Raises ValueError."""
    plain = _NAME.sub("", pattern)
    if "{" in plain or "}" in plain:
        raise ValueError(
            f"{pattern!r} has a brace without a name: write names such as {{kind}}, of letters, "
            "digits and _"
        )
    names = tuple(_NAME.findall(pattern))
    if not names:
        raise ValueError(f"{pattern!r} names nothing: write one such as {{kind}}/{{id}}.*")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{{{name}}} stands twice: give each part a name of its own")
        if name in RESERVED:
            raise ValueError(f"{{{name}}} is a key of Lookalike's own: choose another name")
    return names


def compiled(pattern: str) -> Match:
    """A function: a path relative to the source -> the text of each part; None: no match.

    Raises ValueError with what is wrong with the pattern.
    """
    names = names_of(pattern)
    if pattern.startswith("/") or "//" in pattern:
        raise ValueError(f"{pattern!r} is no relative path: write one as files have it, a/b.jpg")
    *folders, file = pattern.split("/")
    if folders.count("**") > 1:
        raise ValueError(f"{pattern!r} has **/ twice: write it once")
    places = {name: f"g{i}" for i, name in enumerate(names)}
    expression = "".join(
        "(?:[^/]+/)*" if folder == "**" else _piece(folder, "[^/]", "/", places) + "/"
        for folder in folders
    )
    stem, dot, suffix = file.rpartition(".")
    if dot:
        expression += _piece(stem, "[^/]", r"\.[^./]*\Z", places)
        expression += r"\." + _piece(suffix, "[^./]", r"\Z", places)
    else:
        expression += _piece(file, "[^/]", r"\Z", places)
    match = re.compile(expression + r"\Z").match

    def parts(path: str) -> dict[str, str] | None:
        found = match(path)
        return None if found is None else {name: found[at] for name, at in places.items()}

    return parts


def _piece(text: str, any_: str, end: str, places: dict[str, str]) -> str:
    """The expression of a name, or of its stem or suffix, that `end` follows.

    A part takes the text up to the first place where what follows it fits, for good: `(?>…)`.
    """
    tokens = [token for token in _TOKENS.split(text) if token]
    made, at = "", 0
    while at < len(tokens):
        token = tokens[at]
        if token[0] not in "{*":
            made += re.escape(token)
            at += 1
            continue
        if len(token) > 1 and token[0] == "*":
            raise ValueError(f"{text!r}: write ** for whole folders alone, as in **/{{id}}.jpg")
        part = f"{any_}*?" if token == "*" else f"(?P<{places[token[1:-1]]}>{any_}+?)"
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        if following[:1] in ("{", "*"):
            raise ValueError(f"{text!r}: put a text between {token} and {following}")
        last = at + 2 >= len(tokens)
        made += f"(?>{part}{re.escape(following)}{f'(?={end})' if last else ''})"
        at += 2 if following else 1
    return made
