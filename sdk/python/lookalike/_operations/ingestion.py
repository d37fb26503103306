"""What is kept of a collection's ingestion: runs, failures, deletions."""

from __future__ import annotations

from typing import Any, TypeVar

from lookalike._exchange import Answer, Call, Operation, Request, call
from lookalike._operations import paths
from lookalike._operations.pages import Pages
from lookalike.types import Answered, Deletion, FailureCount, IngestionFailure, IngestionRun

_A = TypeVar("_A", bound=Answered)


def runs(collection: str) -> Pages[IngestionRun]:
    """The last 20 ingestion runs of a collection, the newest first: what became of each entry that
    its sources listed, and how long each stage took."""
    return Pages(f"{paths.collection(collection)}/runs", {}, _read(IngestionRun))


def failures(
    collection: str, *, code: str | None = None, limit: int | None = None
) -> Pages[IngestionFailure]:
    """Every entry of the sources that could not be ingested, page by page as you iterate. An entry
    is no longer among them once its image is in, or once the source no longer has it.

    code: only those with this row of the table of failures, such as "image-truncated".
    limit: failures asked for at once, not in all.
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
    """Every document that was deleted and that ingestion leaves away until its object changes.

    limit: deletions asked for at once, not in all.
    """
    path = f"{paths.collection(collection)}/deletions"
    return Pages(path, _limit(limit), _read(Deletion))


def restore(collection: str, document_id: str) -> Operation[None]:
    """Let the next ingestion bring a deleted document again. Raises NotFound.

    Repeated after a broken connection, a call that had worked finds nothing: that is no error.
    """
    request = Request("DELETE", paths.deletion(collection, document_id))
    return (yield from call(Call(request, lambda answer: None, done_already=404)))


def _limit(limit: int | None) -> dict[str, str]:
    return {} if limit is None else {"limit": str(limit)}


def _read(kind: type[_A]) -> Any:
    def read(item: Any, answer: Answer) -> _A:
        return kind.model_validate(item)

    return read
