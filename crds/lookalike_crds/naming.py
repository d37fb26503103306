"""Names that CLI, operator and serving must agree on, and the one way of making a name of parts."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from lookalike_crds.image_collection import CollectionModel, ModelSpec, Provider

LONGEST = 63
"""Characters of a DNS-1123 label."""
_DIGEST = 8
_LONG_DIGEST = 12
_FOREIGN = re.compile(r"[^a-z0-9-]")


def joined(*parts: str, suffix: str = "", longest: int = LONGEST) -> str:
    """The parts as one DNS-1123 label, and never the same one for two lists of parts.

    A dash between parts cannot be told from a dash within one, so a digest of the parts follows
    wherever that could matter: where one of several parts has a dash, where something had to be
    cut or replaced, and where a part looks like such a digest. A single part that fits stays as
    it is. `suffix` tells what the name is for: it is the same for all names of one purpose.
    """
    plain = "-".join(parts)
    size = _DIGEST if len(parts) == 1 else _LONG_DIGEST
    if not _is_ambiguous(parts, plain + suffix, suffix, longest):
        return plain + suffix
    # A single part is named by itself with its suffix, as it always was.
    what = plain + suffix if len(parts) == 1 else json.dumps(parts)
    digest = hashlib.sha256(what.encode()).hexdigest()[:size]
    readable = _FOREIGN.sub("-", plain)
    kept = readable[: longest - len(suffix) - size - 1].rstrip("-")
    return f"{kept}-{digest}{suffix}"


def _is_ambiguous(parts: tuple[str, ...], whole: str, suffix: str, longest: int) -> bool:
    if len(whole) > longest or any(_FOREIGN.search(part) for part in parts):
        return True
    if len(parts) > 1:
        return any("-" in part for part in parts) or _looks_like_digest(parts[-1], _LONG_DIGEST)
    # Names that were cut are as long as names can be, but for dashes at the cut.
    tail = parts[0].rpartition("-")[2]
    return len(whole) >= longest - _DIGEST and _looks_like_digest(tail, _DIGEST)


def _looks_like_digest(text: str, size: int) -> bool:
    return re.fullmatch(rf"[0-9a-f]{{{size}}}", text) is not None


def index_name(collection: str, model: ModelSpec, *within: str) -> str:
    """Name of the index that holds `collection` as embedded by `model`: at most 63 characters.

    `within`: what tells this collection from others of its name that may have an index in the
    same place, such as its namespace on a server.

    Another model, or another copy model, has another index, so that vectors of two models never
    meet in one. Precision is left out: it changes speed, not the space.
    """
    parts = [*within, collection]
    stem, size = _index_stem(parts)
    # One dash for each part: no other parts have this name.
    what: list[Any] = ["-".join(parts)] if size == _DIGEST else parts
    for each in (model, _copies_of(model)):
        if each is not None:
            what += [each.provider, each.name, each.weights, each.revision]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:size]
    return f"{stem}-{digest}"


def may_be_index_of(name: str, collection: str, *within: str) -> bool:
    """Whether `index_name` gives this name to the collection for some model."""
    stem, size = _index_stem([*within, collection])
    return re.fullmatch(rf"{re.escape(stem)}-[0-9a-f]{{{size}}}", name) is not None


def _index_stem(parts: list[str]) -> tuple[str, int]:
    """(what the indexes of all models of a collection begin with, digits of the digest)."""
    plain = "-".join(parts)
    dashed = len(parts) > 1 and any("-" in part for part in parts)
    size = _LONG_DIGEST if dashed else _DIGEST
    return plain[: LONGEST - size - 1].rstrip("-"), size


def _copies_of(model: ModelSpec) -> ModelSpec | None:
    return model.copies if isinstance(model, CollectionModel) else None


def described(model: ModelSpec) -> str:
    """A model in a few words, for status, columns and messages."""
    copies = _copies_of(model)
    return _in_words(model) if copies is None else f"{_in_words(model)} + {_in_words(copies)}"


def _in_words(model: ModelSpec) -> str:
    if model.provider is Provider.DEMO:
        return "Demo"
    parts = [f"{model.provider.value} {_end_of(model.name or '')}"]
    if model.weights:
        parts.append(_end_of(model.weights))
    if model.revision:
        parts.append(f"@{model.revision[:_REVISION]}")
    text = " ".join(parts)
    return text if len(text) <= _LONGEST_DESCRIPTION else text[: _LONGEST_DESCRIPTION - 1] + "…"


_LONGEST_DESCRIPTION = 60
_REVISION = 12
"""Of a commit."""


def _end_of(path: str) -> str:
    """The last part of a path or an address: what is before it is the same for most models."""
    return "…/" + path.rsplit("/", 1)[1] if path.count("/") > 1 else path
