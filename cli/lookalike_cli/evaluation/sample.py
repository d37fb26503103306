"""A sample of a collection on which models are compared: documents, and queries over them.

It has every document that is relevant for a query, and others that were drawn at random, so that
there is something to find and something to confuse it with.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_cli.evaluation.edits import edited_copies
from lookalike_cli.evaluation.judgments import Judgment, same_value, value_of
from lookalike_cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from lookalike import Lookalike

_CONSIDERED = 100_000
"""Documents that the sample is drawn from: the first of the listing."""
_AT_ONCE = 8
_SEED = 1


@dataclass(frozen=True, slots=True)
class Sample:
    pictures: dict[str, Path]
    """The file of each document's picture, by the document's id."""
    judgments: tuple[Judgment, ...]
    """With the relevant documents by their ids; a picture is the path of a file."""
    among: tuple[frozenset[str] | None, ...]
    """For each judgment the ids of the documents that its filters allow; None: all."""
    without_picture: int
    """Documents that were drawn and whose picture could not be had."""
    not_there: int
    """Judgments that were left out, since no relevant document is in the collection."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a sample: exactly one of `judgments`, `same` and neither."""

    judgments: Sequence[Judgment] | None
    same: str | None
    documents: int
    queries: int


def drawn(
    client: Lookalike, collection: str, wanted: Wanted, folder: Path, done: Callable[[], None]
) -> Sample:
    """Reads the pictures into `folder`; `done` is called after each. The same documents each time.

    Raises Failure if there is nothing to compare with, and what the client raises.
    """
    documents = list(islice(client.documents.list(collection, limit=1000), _CONSIDERED))
    if not documents:
        raise Failure(f"collection {collection} has no documents: there is nothing to embed")
    chosen = random.Random(_SEED)
    everything = [each.document_id for each in documents]
    judgments: list[Judgment] = []
    if wanted.judgments is not None:
        judgments = _present(wanted.judgments, set(everything))
        needed = _needed(judgments)
    elif wanted.same is not None:
        judgments = _grouped(documents, wanted, chosen)
        needed = _needed(judgments)
    else:
        needed = []
    ids = _filled(needed, everything, wanted.documents, chosen)
    pictures = _read(client, collection, ids, folder, done)
    not_there = 0
    if wanted.judgments is not None:
        not_there = len(wanted.judgments) - len(judgments)
    if wanted.judgments is None and wanted.same is None:
        judgments = _edited(pictures, wanted.queries, folder)
    judgments = [kept for each in judgments if (kept := _with_pictures(each, pictures)) is not None]
    if not judgments:
        raise Failure("no query of the sample has a relevant document with a picture")
    return Sample(
        pictures,
        tuple(judgments),
        _allowed(client, collection, judgments),
        len(ids) - len(pictures),
        not_there,
    )


def _present(judgments: Iterable[Judgment], there: set[str]) -> list[Judgment]:
    """Those with a relevant document, and a query, that is in the collection."""
    found = []
    for each in judgments:
        if each.query["type"] == "image" and "://" in each.query["value"]:
            raise Failure(
                f"{each.query['value']}: compare-models takes pictures from files: save it next to "
                "the judgments and write its path",
                ExitCode.USAGE,
            )
        relevant = {id: grade for id, grade in each.relevant.items() if id in there}
        known = each.query["type"] != "document" or each.query["value"] in there
        if relevant and known:
            found.append(replace(each, relevant=relevant))
    return found


def _grouped(documents: Sequence[Any], wanted: Wanted, chosen: random.Random) -> list[Judgment]:
    """Queries of whole groups of documents with one value, in at most half of the sample."""
    field = str(wanted.same)
    members: dict[str, list[str]] = {}
    for each in documents:
        members.setdefault(json.dumps(value_of(each.metadata, field)), []).append(each.document_id)
    judged = same_value(iter(documents), field, len(documents))
    chosen.shuffle(judged)
    found: list[Judgment] = []
    needed: set[str] = set()
    for each in judged:
        group = members[json.dumps(each.same[1] if each.same else None)]
        if len(found) == wanted.queries or len(needed | set(group)) > max(wanted.documents // 2, 2):
            continue
        needed.update(group)
        itself = each.query["value"]
        found.append(replace(each, relevant={id: 1.0 for id in group if id != itself}, same=None))
    if not found:
        raise Failure(
            f"every group of documents with the same {field} is larger than half of the sample: "
            "raise --sample, or name a field with smaller groups",
            ExitCode.USAGE,
        )
    return found


def _needed(judgments: Iterable[Judgment]) -> list[str]:
    found: dict[str, None] = {}
    for each in judgments:
        found |= dict.fromkeys(each.relevant)
        if each.query["type"] == "document":
            found[each.query["value"]] = None
    return list(found)


def _filled(
    needed: list[str], everything: list[str], count: int, chosen: random.Random
) -> list[str]:
    taken = set(needed)
    others = [id for id in everything if id not in taken]
    return needed + chosen.sample(others, max(0, min(count - len(needed), len(others))))


def _read(
    client: Lookalike, collection: str, ids: Sequence[str], folder: Path, done: Callable[[], None]
) -> dict[str, Path]:
    from lookalike import APIError

    def one(numbered: tuple[int, str]) -> Path | None:
        number, id = numbered
        file = folder / f"{number}.image"
        try:
            file.write_bytes(client.documents.image(collection, id))
        except APIError:
            return None
        done()
        return file

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        files = threads.map(one, enumerate(ids))
        return {id: file for id, file in zip(ids, files, strict=True) if file is not None}


def _edited(pictures: dict[str, Path], queries: int, folder: Path) -> list[Judgment]:
    ids = list(pictures)[:queries]
    judgments, _ = edited_copies(ids, lambda id: pictures[id].read_bytes())
    found = []
    for number, each in enumerate(judgments):
        file = folder / f"{number}.edited"
        file.write_bytes(each.query["value"])
        found.append(replace(each, query={"type": "image", "value": str(file)}))
    return found


def _with_pictures(judgment: Judgment, pictures: dict[str, Path]) -> Judgment | None:
    """Without the relevant documents that have no picture here; None if nothing is left."""
    relevant = {id: grade for id, grade in judgment.relevant.items() if id in pictures}
    if judgment.query["type"] == "document" and judgment.query["value"] not in pictures:
        return None
    return replace(judgment, relevant=relevant, total=None) if relevant else None


def _allowed(
    client: Lookalike, collection: str, judgments: Sequence[Judgment]
) -> tuple[frozenset[str] | None, ...]:
    known: dict[str, frozenset[str]] = {}
    found: list[frozenset[str] | None] = []
    for each in judgments:
        if not each.filters:
            found.append(None)
            continue
        text = json.dumps(each.filters, sort_keys=True)
        if text not in known:
            matching = client.documents.list(collection, filters=each.filters, limit=1000)
            known[text] = frozenset(document.document_id for document in matching)
        found.append(known[text])
    return tuple(found)
