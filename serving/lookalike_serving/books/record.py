"""The records of a collection, and their ids. Pure.

An id says the kind of record and the collection that it is of, so that the records of one kind lie
next to each other in the engine's order, and reading them needs neither a filter nor a sort:

    3 calibration of a retriever | 4 how alike different pictures are |
    6 rejection of a copy | 7 features of an image | 8 run | 9 failure |
    a deletion | b listing | c change | d duplicate scan | e part of one |
    f a dismissed pair of duplicates                          4 bits
    the collection, or the retriever                          44 bits, a hash of name and owner
    the record                                                80 bits, a hash of what it is about
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from lookalike_crds.config import CollectionConfig
from lookalike_crds.ownership import IndexOwner
from lookalike_crds.progress import Counts, RunState, total_of

KEPT_RUNS = 20
MOST_FAILURES = 100_000
"""Failures of one collection that are kept one by one; a run counts all of them."""
SILENT = timedelta(minutes=2)
"""A run that has not written for this time has been killed. It writes every few seconds."""

_SCOPE_BITS, _OWN_BITS = 44, 80


class Kind(Enum):
    CALIBRATION = 3
    CHANCE = 4
    REJECTION = 6
    FEATURES = 7
    RUN = 8
    FAILURE = 9
    DELETION = 10
    LISTING = 11
    CHANGE = 12
    SCAN = 13
    SCAN_PART = 14
    DISMISSAL = 15


@dataclass(frozen=True, slots=True)
class Scope:
    """The collection that records are of.

    On a cluster another collection of the same name is another one; on one machine a name in a
    data folder is the same collection, as its index is.
    """

    text: str

    @classmethod
    def of(cls, collection: CollectionConfig) -> Scope:
        return cls.named(collection.name, collection.index.owner)

    @classmethod
    def named(cls, collection: str, owner: IndexOwner | None) -> Scope:
        """Of a collection whose indexes have this owner."""
        parts = [collection]
        if owner is not None and owner.namespace:
            parts += [owner.namespace, owner.uid or owner.cluster]
        return cls("\x00".join(parts))

    def first(self, kind: Kind) -> int:
        """The lowest id of its records of a kind."""
        own = _hash(self.text, _SCOPE_BITS)
        return kind.value << (_SCOPE_BITS + _OWN_BITS) | own << _OWN_BITS

    def id_of_first(self, kind: Kind) -> str:
        return str(uuid.UUID(int=self.first(kind)))

    def id(self, kind: Kind, *parts: str) -> str:
        return str(uuid.UUID(int=self.first(kind) | _hash("\x00".join(parts), _OWN_BITS)))

    def has(self, kind: Kind, id: str) -> bool:
        return uuid.UUID(id).int >> _OWN_BITS == self.first(kind) >> _OWN_BITS


def _hash(text: str, bits: int) -> int:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:16], "big") >> (128 - bits)


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """An entry of a source that could not be ingested, until it is ingested or gone."""

    source: str
    key: str
    """Its name within the source: a path, an address, or the place of a row."""
    code: str
    """Its row in the table of failures."""
    cause: str
    """In words, with the remedy."""
    attempts: int
    first_at: str
    last_at: str
    """RFC 3339, UTC."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A document that somebody deleted: ingestion leaves its object alone until that changes."""

    document_id: str
    deleted_at: str
    source: str | None = None
    """That had brought it; None: it was uploaded."""
    image: str | None = None
    """Address of the object that it came from."""
    version: str | None = None
    """Of that object, as its source tells it, or `sha256:…` of its bytes."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An image of a source that was left out, since it is a copy of a document."""

    version: str
    """Of the image, as its source tells it."""
    document: str
    """Id of the document that it is a copy of."""
    image: str
    """SHA-256 of that document's image."""
    sensitivity: str
    """With which they were compared."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Keys of sources that were told to have changed, until each has been looked at."""

    accepted_at: datetime
    held_at: datetime
    """When the process that looks at them last said so."""
    keys: tuple[tuple[str, str], ...]
    """(source, key)"""


@dataclass(frozen=True, slots=True)
class KeptFeatures:
    """What a document's image is compared by. Whatever model embeds it, they are the same."""

    image: str
    """SHA-256 of the image that they are of, in hexadecimal digits."""
    features: str
    """As `Features.stored` writes them."""


@dataclass(frozen=True, slots=True)
class RunPart:
    """What one process reports about its share of a run."""

    run: str
    part: int
    parts: int
    state: RunState
    started_at: datetime
    updated_at: datetime
    attempt: int = 1
    """1, plus one for each time that the process was started again."""
    of_changes: bool = False
    """It looked at keys that were told to have changed, and listed nothing."""
    only_failed: bool = False
    """It tried again what had failed, and nothing else."""
    reason: str | None = None
    message: str | None = None
    sources: dict[str, Counts] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    """Failed entries by code."""
    bytes: int = 0
    """Of images that were read."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage: see `STAGES`."""


STAGES = ("list", "fetch", "decode", "embed", "write")
"""Of a run. `list`, `fetch` and `write`: seconds in which at least one call was waited for.
`decode`: of all threads together. `embed`: in which the model worked."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: all its parts together."""

    id: str
    parts: tuple[RunPart, ...]

    @property
    def state(self) -> RunState:
        """The worst of its parts' that have ended; of one that continues, how far it is."""
        states = [part.state for part in self.parts]
        going_on = [state for state in states if not state.ended]
        if going_on:
            return min(going_on, key=list(RunState).index)
        return max(states, key=list(RunState).index)

    @property
    def complete(self) -> bool:
        """Whether each of its parts has begun."""
        return len(self.parts) == self.parts[0].parts

    @property
    def ended(self) -> bool:
        """Whether each of its parts has come to an end."""
        return self.complete and self.state.ended

    @property
    def of_changes(self) -> bool:
        return self.parts[0].of_changes

    def may_write(self, now: datetime) -> bool:
        """Whether a part of it may still write documents."""
        return not (self.ended or self.interrupted(now)) and now - self.updated_at <= SILENT

    def interrupted(self, now: datetime) -> bool:
        """Whether a part of it was killed, as far as can be seen."""
        return any(not p.state.ended and now - p.updated_at > SILENT for p in self.parts)

    @property
    def started_at(self) -> datetime:
        return min(part.started_at for part in self.parts)

    @property
    def updated_at(self) -> datetime:
        return max(part.updated_at for part in self.parts)

    @property
    def counts(self) -> Counts:
        return total_of(c for part in self.parts for c in part.sources.values())

    @property
    def sources(self) -> dict[str, Counts]:
        names = sorted({name for part in self.parts for name in part.sources})
        return {
            name: total_of(p.sources[name] for p in self.parts if name in p.sources)
            for name in names
        }

    @property
    def failures(self) -> dict[str, int]:
        """Failed entries by code, most frequent first."""
        codes = {code for part in self.parts for code in part.failures}
        found = {code: sum(p.failures.get(code, 0) for p in self.parts) for code in codes}
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def seconds(self) -> dict[str, float]:
        return {
            stage: round(sum(part.seconds.get(stage, 0.0) for part in self.parts), 3)
            for stage in STAGES
        }


def runs_of(parts: list[RunPart]) -> list[Run]:
    """The runs, each with all of its parts, the newest first."""
    found: dict[str, list[RunPart]] = {}
    for part in parts:
        found.setdefault(part.run, []).append(part)
    runs = [Run(id, tuple(sorted(some, key=lambda part: part.part))) for id, some in found.items()]
    return sorted(runs, key=lambda run: (run.started_at, run.id), reverse=True)


def encode(record: FailedEntry | Deletion | RunPart) -> dict[str, Any]:
    """A record as a payload; what is None or empty is left out."""
    if isinstance(record, RunPart):
        told: dict[str, Any] = {
            "run": record.run,
            "part": record.part,
            "parts": record.parts,
            "attempt": record.attempt,
            "only_failed": record.only_failed,
            "of_changes": record.of_changes or None,
            "state": record.state.value,
            "reason": record.reason,
            "message": record.message,
            "started_at": record.started_at.isoformat(),
            "updated_at": record.updated_at.isoformat(),
            "sources": [
                {"name": name, **counts.model_dump()} for name, counts in record.sources.items()
            ],
            "failures": [{"code": c, "count": n} for c, n in record.failures.items()],
            "bytes": record.bytes,
            "seconds": record.seconds,
        }
    else:
        told = asdict(record)
    return {name: value for name, value in told.items() if value not in (None, {}, [])}


def decode_failure(payload: dict[str, Any]) -> FailedEntry:
    return FailedEntry(**{name: payload[name] for name in FailedEntry.__dataclass_fields__})


def decode_deletion(payload: dict[str, Any]) -> Deletion:
    known = Deletion.__dataclass_fields__
    return Deletion(**{name: value for name, value in payload.items() if name in known})


def encode_changed(record: Changed) -> dict[str, Any]:
    return {
        "accepted_at": record.accepted_at.isoformat(),
        "held_at": record.held_at.isoformat(),
        "changed": [{"source": source, "key": key} for source, key in record.keys],
    }


def decode_changed(payload: dict[str, Any]) -> Changed:
    return Changed(
        datetime.fromisoformat(payload["accepted_at"]),
        datetime.fromisoformat(payload["held_at"]),
        tuple((each["source"], each["key"]) for each in payload["changed"]),
    )


def decode_part(payload: dict[str, Any]) -> RunPart:
    return RunPart(
        run=payload["run"],
        part=payload["part"],
        parts=payload["parts"],
        attempt=payload.get("attempt", 1),
        only_failed=payload.get("only_failed", False),
        of_changes=payload.get("of_changes", False),
        state=RunState(payload["state"]),
        reason=payload.get("reason"),
        message=payload.get("message"),
        started_at=datetime.fromisoformat(payload["started_at"]),
        updated_at=datetime.fromisoformat(payload["updated_at"]),
        sources={each["name"]: Counts.model_validate(each) for each in payload.get("sources", ())},
        failures={each["code"]: each["count"] for each in payload.get("failures", ())},
        bytes=payload.get("bytes", 0),
        seconds=payload.get("seconds", {}),
    )
