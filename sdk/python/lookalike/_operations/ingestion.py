"""The records of a collection's ingestion: runs, failures, deletions."""

from __future__ import annotations

from typing import Any, TypeVar

from lookalike._exchange import Answer, Call, Operation, Request, call
from lookalike._operations import paths
from lookalike._operations.pages import Pages
from lookalike.types import Answered, Deletion, FailureCount, IngestionFailure, IngestionRun

_A = TypeVar("_A", bound=Answered)


def runs(collection: str) -> Pages[IngestionRun]:
    """The last 20 ingestion runs of a collection, the newest first: the outcome of each entry that
    its sources listed, and how long each stage took."""
    return Pages(f"{paths.collection(collection)}/runs", {}, _read(IngestionRun))


def failures(
    collection: str, *, code: str | None = None, limit: int | None = None
) -> Pages[IngestionFailure]:
    """Every entry of the sources that could not be ingested, page by page as you iterate. An entry
    is removed once its image is ingested, or once its source no longer contains it.

    code: only failures with this row of the table of failures, such as "image-truncated".
    limit: the number of failures per request, not in total.
    """
    params = {"code": code} if code is not None else {}
    return Pages(
        f"{paths.collection(collection)}/failures", params | _limit(limit), _read(IngestionFailure)
    )


def failure_counts(collection: str) -> Operation[tuple[FailureCount, ...]]:
    """How many entries could not be ingested, by cause, the most frequent first."""
    request = Request("GET", f"{paths.collection(collection)}/failures", params={"limit": "1"})
    return (yield from call(Call(request, _counted)))


def _counted(answer: Answer) -> tuple[FailureCount, ...]:
    return tuple(FailureCount.model_validate(each) for each in answer.json()["by_code"])


def deletions(collection: str, *, limit: int | None = None) -> Pages[Deletion]:
    """Every document that was deleted and that ingestion does not add again until its object
    changes.

    limit: the number of deletions per request, not in total.
    """
    path = f"{paths.collection(collection)}/deletions"
    return Pages(path, _limit(limit), _read(Deletion))


def restore(collection: str, document_id: str) -> Operation[None]:
    """Let the next ingestion add a deleted document again. Raises NotFound.

    If the call is repeated after a broken connection and had succeeded before, that is not an
    error.
    """
    request = Request("DELETE", paths.deletion(collection, document_id))
    return (yield from call(Call(request, lambda answer: None, done_already=404)))


def _limit(limit: int | None) -> dict[str, str]:
    return {} if limit is None else {"limit": str(limit)}


def _read(kind: type[_A]) -> Any:
    def read(item: Any, answer: Answer) -> _A:
        return kind.model_validate(item)

    return read
