"""What an ingestion run says of itself while it runs: one JSON file, replaced atomically.

Written by `lookalike_serving.ingest`, read by `lookalike up`, `lookalike status` and the operator.
Beside it, `<name>.errors.jsonl` lists every image that failed, one JSON object a line.

When it has ended, a run on a cluster leaves a `RunResult`: as the message its container terminates
with, which Kubernetes keeps in the pod's status up to 4096 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lookalike_crds.failures import by_code


class RunState(StrEnum):
    LISTING = "LISTING"  # and already working on what was listed
    RUNNING = "RUNNING"
    OPTIMIZING = "OPTIMIZING"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        return self in {self.COMPLETED, self.COMPLETED_WITH_ERRORS, self.FAILED}

    @property
    def went_through(self) -> bool:
        """To its end: what it could do is done."""
        return self in {self.COMPLETED, self.COMPLETED_WITH_ERRORS}


class Counts(BaseModel):
    """Images of one source."""

    model_config = ConfigDict(extra="ignore")

    listed: int = Field(
        default=0, description="Everything that the listing found, counted when it was found."
    )
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    skipped: int = Field(
        default=0,
        description="Files that were passed over: no images by their name, or left out as "
        "metadata.onMissingRow or onBadValue says.",
    )

    @property
    def usable(self) -> int:
        """Images that are in the index now."""
        return self.new + self.updated + self.unchanged

    def told(self) -> str:
        """In a few words: "1,950 new, 12 updated, 38 unchanged, 2 failed"."""
        names = ("new", "updated", "unchanged", "deleted", "failed", "skipped")
        told = [f"{getattr(self, name):,} {name}" for name in names if getattr(self, name)]
        return ", ".join(told) or "nothing"

    @property
    def images(self) -> int:
        """What was listed and not passed over: what the run has to deal with."""
        return self.listed - self.skipped

    @property
    def done(self) -> int:
        """Of `images`."""
        return self.new + self.updated + self.unchanged + self.failed

    @property
    def left(self) -> int:
        """Listed, and nothing became of it: 0 at the end of each complete run.

        More than 0 of a run that ended early: the next run takes these. Less than 0: something was
        counted twice.
        """
        return self.images - self.done


class ItemError(BaseModel):
    """One image that could not be ingested."""

    model_config = ConfigDict(extra="ignore")

    source: str
    key: str
    cause: str
    code: str | None = Field(default=None, description="Its row in the table of failures.")


Unit = Literal["image", "row", "file"]


class ByCause(BaseModel):
    """Images, rows of a metadata file, or files, that the same happened to."""

    model_config = ConfigDict(extra="ignore")

    cause: str = Field(description="In the same words for all that it happens to.")
    code: str | None = Field(
        default=None, description="Of failures: their row in the table of failures."
    )
    count: int = 1
    of: Unit = "image"
    source: str
    example: str = Field(description="One of them.")

    def told(self, image: str = "image") -> str:
        """In a line: "12 images: animated: the first frame is used (such as a.gif)".

        `image`: what an image is called.
        """
        name = image if self.of == "image" else self.of
        counted = f"1 {name}" if self.count == 1 else f"{self.count:,} {name}s"
        return f"{counted}: {self.cause} (such as {_shorten(self.example, _SHORTEST_TEXT)})"


class GateResult(BaseModel):
    """What was measured of a new model before it answers (`spec.model.gate`)."""

    model_config = ConfigDict(extra="ignore")

    passed: bool
    queries: int
    overlap: float | None = Field(default=None, description="With the former model's results.")
    recall: float | None = None
    latency_factor: float | None = Field(default=None, description="Of embedding a query.")
    told: str = Field(description="The figures, each with what was asked.")


class Progress(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: int = 1
    collection: str
    state: RunState = RunState.LISTING
    reason: str | None = Field(
        default=None, description="Of a run that failed: its row in the table of failures."
    )
    message: str | None = Field(default=None, description="Why it failed; what to know.")
    sources: dict[str, Counts] = Field(default_factory=dict)
    listed_all: bool = Field(
        default=False, description="All images are counted; until then `listed` still grows."
    )
    images_per_second: float | None = None
    eta_seconds: float | None = Field(default=None, description="Known once listing has ended.")
    started_at: datetime
    updated_at: datetime
    pid: int
    documents: int | None = Field(default=None, description="In the index; known at the end.")
    gate: GateResult | None = Field(
        default=None, description="Of a run that fills the index of a changed model."
    )
    bytes: int = Field(default=0, description="Of the images that were read.")
    seconds: dict[str, float] = Field(
        default_factory=dict, description="By stage: list, fetch, decode, embed, write."
    )
    failed_by: dict[str, int] = Field(
        default_factory=dict, description="All that failed, by their row in the table of failures."
    )
    errors: list[ItemError] = Field(default_factory=list, description="The last few.")
    failures: list[ByCause] = Field(
        default_factory=list,
        description="All that failed, by their row in the table of failures, most frequent first.",
    )
    skipped: list[ByCause] = Field(
        default_factory=list, description="Files that were passed over, by cause."
    )
    warnings: list[ByCause] = Field(
        default_factory=list,
        description="What came in with something left out, by cause, and what of tables did not.",
    )

    @property
    def total(self) -> Counts:
        """Sum over the sources."""
        return total_of(self.sources.values())


class Fetching(BaseModel):
    """Weights of a model on their way, in bytes."""

    model_config = ConfigDict(extra="ignore")

    done: int = Field(ge=0)
    total: int = Field(ge=0)

    def told(self) -> str:
        """Such as: 312 of 605 MB."""
        return f"{self.done // 1_000_000:,} of {self.total // 1_000_000:,} MB"


class WorkerProgress(BaseModel):
    """How far one pod is: what it answers on its progress port, to the operator. A serving pod has
    no images of its own."""

    model_config = ConfigDict(extra="ignore")

    version: int = 1
    listed: int = Field(
        default=0, ge=0, description="Its own images; all of them once `listed_all`."
    )
    listed_all: bool = False
    done: int = Field(default=0, ge=0, description="Of those: indexed, found unchanged, or failed.")
    failed: int = Field(default=0, ge=0, description="Of those.")
    images_per_second: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    eta_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    fetching: Fetching | None = Field(default=None, description="What it waits for.")

    @classmethod
    def of(cls, progress: Progress) -> WorkerProgress:
        total = progress.total
        return cls(
            listed=total.images,
            listed_all=progress.listed_all,
            done=total.done,
            failed=total.failed,
            images_per_second=progress.images_per_second,
            eta_seconds=progress.eta_seconds,
        )


PROGRESS_PORT_VARIABLE = "LOOKALIKE_PROGRESS_PORT"
"""Where a pod is to answer with its `WorkerProgress`. A variable, since an image from
before it does not refuse one that it does not know."""

RUN_VARIABLE = "LOOKALIKE_RUN"
"""What the pods of one Job have in common: the id of the run that they share."""

RESULT_BYTES = 4096
"""Kubernetes cuts a longer termination message, and JSON with it."""
_LONGEST_TEXT = 1024
_SHORTEST_TEXT = 120
MOST_TOLD = 8
"""Causes that a run tells one by one."""
_MOST_CAUSES = 200
"""Causes that are kept apart until the most frequent ones are reported."""
OTHER_CAUSES = "other causes"
OTHERS = "+others"
"""Stands for the sources that had no room of their own. No source can have this name."""
CARRIED = "+carried"
"""Stands for documents that no source brought, embedded again from the index of a former model."""


class RunResult(BaseModel):
    """How one run, or one partition of it, ended."""

    model_config = ConfigDict(extra="ignore")

    version: int = 1
    state: RunState
    reason: str | None = Field(
        default=None, description="Of a run that failed: its row in the table of failures."
    )
    message: str | None = Field(default=None, description="Why it failed; what to know.")
    sources: dict[str, Counts] = Field(
        default_factory=dict, description="Of a partition: its own images alone."
    )
    documents: int | None = Field(default=None, description="In the index at the end.")
    gate: GateResult | None = Field(
        default=None, description="Of a run that fills the index of a changed model."
    )
    index_name: str | None = Field(
        default=None, description="None: it failed before it had read its configuration."
    )
    failed_by: dict[str, int] = Field(
        default_factory=dict, description="All that failed, by their row in the table of failures."
    )
    errors: list[ItemError] = Field(default_factory=list, description="The last few.")
    warnings: list[ByCause] = Field(
        default_factory=list,
        description="What was left out of images, or left out; the most frequent causes.",
    )
    finished_at: datetime

    def to_json(self, limit: int = RESULT_BYTES) -> bytes:
        """At most `limit` bytes of JSON, shortened so that nothing that others rely on is lost.

        First go all but the last few errors, then the ends of long texts, then warnings,
        then the counts of single sources, which `+others` has the sum of.
        """
        for cut in self._cuts():
            encoded = cut._encoded()
            if len(encoded) <= limit:
                return encoded
        raise ValueError(f"a result does not fit into {limit} bytes")

    def _encoded(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()

    def _cuts(self) -> Iterator[RunResult]:
        """Shorter and shorter versions."""
        whole = self._shortened(_LONGEST_TEXT, self.errors)
        yield whole
        for count in range(len(self.errors), -1, -1):
            yield self._shortened(_SHORTEST_TEXT * 2, self.errors[len(self.errors) - count :])
        short = self._shortened(_SHORTEST_TEXT, [])
        for count in range(len(self.warnings) - 1, -1, -1):
            bare = short.model_copy(update={"warnings": short.warnings[:count]})
            yield bare
        bare = short.model_copy(update={"warnings": []})
        # Those with failures and changes are worth their room most.
        by_worth = sorted(
            bare.sources,
            # Whether a changed model may answer depends on what was carried over.
            key=lambda n: (n != CARRIED, -bare.sources[n].failed, -bare.sources[n].new),
        )
        for count in range(len(by_worth) - 1, -1, -1):
            kept = set(by_worth[:count])
            sources = {name: c for name, c in bare.sources.items() if name in kept}
            others = total_of(c for name, c in bare.sources.items() if name not in kept)
            yield bare.model_copy(update={"sources": {**sources, OTHERS: others}})

    def _shortened(self, length: int, errors: list[ItemError]) -> RunResult:
        return self.model_copy(
            update={
                "message": None if self.message is None else _shorten(self.message, length),
                "errors": [
                    ItemError(
                        source=error.source,
                        code=error.code,
                        key=_shorten(error.key, length),
                        cause=_shorten(error.cause, length),
                    )
                    for error in errors
                ],
                "warnings": [
                    each.model_copy(
                        update={
                            "cause": _shorten(each.cause, 2 * _SHORTEST_TEXT),
                            "example": _shorten(each.example, _SHORTEST_TEXT),
                        }
                    )
                    for each in self.warnings
                ],
            }
        )


def _shorten(text: str, length: int) -> str:
    """At most about `length` bytes as JSON, cut at the end; control characters become spaces."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    if len(plain.encode()) <= length:
        return plain
    return plain.encode()[: length - 3].decode(errors="ignore") + "…"


class Tally:
    """Sums up what happened by its cause, in bounded memory."""

    def __init__(self) -> None:
        self._groups: dict[str, ByCause] = {}

    def add(self, one: ByCause) -> None:
        """Failures are the same if their codes are, anything else if its words are.

        Failures of one code that differ in their words are reported in those of the table, with the
        first one's own words beside its name.
        """
        group = one.code or one.cause
        if group not in self._groups and len(self._groups) >= _MOST_CAUSES:
            group = OTHER_CAUSES
            one = one.model_copy(update={"cause": OTHER_CAUSES})
        known = self._groups.get(group)
        if known is None:
            self._groups[group] = one.model_copy()
        else:
            known.count += one.count
            if known.code is not None and known.cause not in (one.cause, _means(known.code)):
                known.example = f"{known.example}: {known.cause}"
                known.cause = _means(known.code)

    def __iter__(self) -> Iterator[ByCause]:
        return iter(self._groups.values())

    def most_frequent(self) -> list[ByCause]:
        """At most `MOST_TOLD`, the most frequent first, and one of all others."""
        ranked = sorted(
            (each for each in self if each.cause != OTHER_CAUSES),
            key=lambda each: (-each.count, each.cause),
        )
        dropped = [each for each in self if each.cause == OTHER_CAUSES] + ranked[MOST_TOLD:]
        kept = [each.model_copy() for each in ranked[:MOST_TOLD]]
        if dropped:
            others = sum(each.count for each in dropped)
            kept.append(dropped[0].model_copy(update={"cause": OTHER_CAUSES, "count": others}))
        return kept


def summed_up(groups: Iterable[ByCause]) -> list[ByCause]:
    """Summed up by cause: at most `MOST_TOLD`, the most frequent first, and one of others."""
    tally = Tally()
    for each in groups:
        tally.add(each)
    return tally.most_frequent()


def _means(code: str) -> str:
    """A row of the table of failures in words that go on in a sentence."""
    try:
        words = by_code(code).means.rstrip(".")
    except KeyError:  # of another version
        return code
    return words[0].lower() + words[1:]


def total_of(counts: Iterable[Counts]) -> Counts:
    """Sum, number by number."""
    total = Counts()
    for each in counts:
        for name in Counts.model_fields:
            setattr(total, name, getattr(total, name) + getattr(each, name))
    return total


def errors_file(progress_file: Path) -> Path:
    """Where the full list of failed images is."""
    return progress_file.with_name(f"{progress_file.stem}.errors.jsonl")
