"""The YAML: an ImageCollection and a Retriever, with a comment on the purpose of each line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

import yaml

from lookalike_crds.names import SERVICE
from lookalike_serving.ingest.sources.guess import Almost, Guess
from lookalike_serving.starting.folder import PLACE, Described, Pictures
from lookalike_serving.starting.model import Choice

_PLAIN = re.compile(r"[A-Za-z./][A-Za-z0-9 ._/-]*[A-Za-z0-9._/-]|[A-Za-z]")
_WORDS_OF_YAML = frozenset("true false yes no on off null y n".split())
_COMMENT_AT = 44
_FALLBACK = "photos"
_LONGEST_ODD = 40


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything that the YAML says."""

    name: str
    """Of the collection: `name_for(folder)`."""
    path: str
    """Of the folder, relative to the YAML file."""
    pictures: Pictures
    described: Described | None
    model: Choice
    fields: tuple[tuple[str, str], ...]
    """Names and types."""

    @property
    def retriever(self) -> str:
        return f"{self.name}-search"


def fields_of(described: Described | None) -> tuple[tuple[str, str], ...]:
    """Names and types of the fields that a table's columns become."""
    if described is None:
        return ()
    told = [(name, guess.type.value) for name, guess in described.fields.items() if guess.type]
    if described.place is not None:
        told.append((PLACE, "Geo"))
    return tuple(told)


def name_for(folder: str) -> str:
    """A resource's name from that of a folder: `Mes photos d'été` gives `mes-photos-d-ete`."""
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if name and not name[0].isalpha():
        name = f"{_FALLBACK}-{name}"
    name = name[: SERVICE.longest - len("-search")].strip("-")
    return name or _FALLBACK


def yaml_of(proposal: Proposal, command: str) -> str:
    """The file's text; `command` is what to run with it."""
    lines = [
        f"# {_counted(proposal.pictures)}. Written by `lookalike init`; change what you like.",
        "#",
        f"#   {command}",
        "apiVersion: lookalike.dev/v1alpha1",
        "kind: ImageCollection",
        "metadata:",
        f"  name: {proposal.name}",
        "spec:",
        *_model(proposal.model),
        "  index:",
        _with("    engine: Edge", "inside the server, its files in the data directory"),
        *_fields(proposal),
        "  sources:",
        _with("    - name: folder", "documents tell it as their source"),
        "      volume:",
        _with(f"        path: {quoted(proposal.path)}", "relative to this file"),
        *_metadata(proposal.described),
        "---",
        "apiVersion: lookalike.dev/v1alpha1",
        "kind: Retriever",
        "metadata:",
        _with(f"  name: {proposal.retriever}", "what is searched: /v1/retrievers/<name>/search"),
        "spec:",
        "  collections:",
        f"    - name: {proposal.name}",
        "  search:",
        _with("    topK: 24", "how many results, where a search does not say"),
    ]
    return "\n".join(lines) + "\n"


def _counted(pictures: Pictures) -> str:
    formats = ", ".join(f"{count:,} {name}" for name, count in pictures.formats.items())
    count = sum(pictures.formats.values())
    return f"{count:,} picture{'' if count == 1 else 's'} ({formats})"


def _model(model: Choice) -> list[str]:
    lines = ["  model:", _with(f"    provider: {model.provider.value}", model.ability)]
    if model.name is not None:
        lines.append(f"    name: {quoted(model.name)}")
    if model.weights is not None:
        lines.append(f"    weights: {quoted(model.weights)}")
    return [*lines, *(f"    # {each}" for each in model.about)]


def _fields(proposal: Proposal) -> list[str]:
    if not proposal.fields:
        return [_with("  # fields:", "typed metadata, for filters: - { name: price, type: Float }")]
    lines = [_with("  fields:", "metadata to filter by; the types are guessed from the values")]
    told = {} if proposal.described is None else doubts_of(proposal.described)
    for name, kind in proposal.fields:
        line = f"    - {{ name: {quoted(name)}, type: {kind} }}"
        lines.append(_with(line, told[name]) if name in told else line)
    return lines


def doubts_of(described: Described) -> dict[str, str]:
    """For each column: the type that a few odd values prevent, and what could be done."""
    return {
        name: _doubt(guess.values, guess.almost)
        for name, guess in described.fields.items()
        if guess.almost is not None
    }


def _doubt(values: int, almost: Almost) -> str:
    odd = almost.example if almost.example.isprintable() else repr(almost.example)
    odd = odd if len(odd) <= _LONGEST_ODD else odd[: _LONGEST_ODD - 1] + "…"
    count = f"{almost.misfits:,} of {values:,} values {'does' if almost.misfits == 1 else 'do'}"
    formats = "" if almost.date_format is None else f" and dateFormat '{almost.date_format}'"
    return (
        f"{count} not read as {almost.type.value} (such as '{odd}'): mend the table, or write type "
        f"{almost.type.value}{formats}, which leaves such values out and counts them"
    )


def _metadata(described: Described | None) -> list[str]:
    if described is None:
        return []
    matched = f"{described.matched:,} pictures have a row in it"
    lines = [
        "      metadata:",
        _with(f"        file: {quoted(described.file)}", f"{matched}; relative to the folder"),
        _with(f"        keyColumn: {quoted(described.key_column)}", "the picture's path"),
    ]
    if described.id_column is not None:
        column = quoted(described.id_column)
        lines.append(_with(f"        documentId: {column}", "instead of the path"))
    if dated := [guess for guess in described.fields.values() if guess.date_format]:
        formats = ", ".join(quoted(each) for each in dict.fromkeys(_formats(dated)))
        others = sorted({guess.or_date_format for guess in dated if guess.or_date_format})
        doubt = f"; or {', '.join(others)}: only you can know" if others else ""
        lines.append(_with(f"        dateFormat: [{formats}]", f"how dates are written{doubt}"))
    if described.place is not None:
        latitude, longitude = map(quoted, described.place)
        lines.append("        geo:")
        lines.append(f"          {PLACE}: {{ lat: {latitude}, lon: {longitude} }}")
    return lines


def _formats(dated: Iterable[Guess]) -> Iterator[str]:
    return (guess.date_format for guess in dated if guess.date_format)


def _with(line: str, comment: str) -> str:
    return f"{line:<{_COMMENT_AT}}  # {comment}"


def quoted(text: str) -> str:
    """The text as a YAML scalar, without quotes if possible."""
    bare = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS_OF_YAML
    if bare:
        return text
    written = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=inf)
    return str(written).strip()
