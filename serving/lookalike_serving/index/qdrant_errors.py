"""What refusals and timeouts of a Qdrant server mean, each in one line with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grpc import StatusCode  # type: ignore[import-untyped]
from grpc.aio import AioRpcError  # type: ignore[import-untyped]
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from lookalike_crds import failures
from lookalike_crds.tls import certificate_problem, tls_problem
from lookalike_serving.index.protocol import IndexFailure, IndexRefused, IndexUnavailable

_LONGEST = 400
"""Characters of a server's own words in a message."""


class CollectionLost(IndexUnavailable):
    """The collection was there when it was opened, and is no more."""

    failure_kind = failures.INDEX_LOST


class KeyRefused(IndexFailure):
    """The server does not know the API key."""

    failure_kind = failures.INDEX_KEY_REFUSED


class CertificateRefused(IndexUnavailable):
    """The server's certificate is not one that we trust."""

    failure_kind = failures.INDEX_CERTIFICATE_REFUSED


class TooSlow(IndexUnavailable):
    """The server has the call, and has not answered in time."""


@contextmanager
def translated(doing: str, where: str) -> Iterator[None]:
    """The client's exceptions as ours. `where` is the server's address."""
    try:
        yield
    except IndexFailure:
        raise
    except AioRpcError as error:
        raise failure(error.code(), error.details() or "", doing, where) from error
    except UnexpectedResponse as error:
        text = error.content.decode(errors="replace")
        raise failure(error.status_code, text, doing, where) from error
    except ResourceExhaustedResponse as error:
        raise failure(StatusCode.RESOURCE_EXHAUSTED, str(error), doing, where) from error
    except (ResponseHandlingException, OSError) as error:
        raise failure(StatusCode.UNAVAILABLE, str(error), doing, where) from error
    except KeyError as error:  # local mode's "no such point"
        raise IndexRefused(_no_point(doing, f"no point {error}")) from error
    except ValueError as error:  # local mode's other refusals
        raise IndexRefused(f"{doing}: {error}") from error


def failure(status: StatusCode | int | None, text: str, doing: str, where: str) -> IndexFailure:
    """The error for a gRPC or HTTP status and the words that came with it."""
    text = " ".join(text.split())[:_LONGEST]
    match status:
        case StatusCode.UNAUTHENTICATED | StatusCode.PERMISSION_DENIED | 401 | 403:
            return KeyRefused(
                f"{doing}: Qdrant at {where} refused the API key ({text}): check index.api_key_file"
            )
        case StatusCode.NOT_FOUND | 404 if "No point with id" in text:
            return IndexRefused(_no_point(doing, text))
        case StatusCode.NOT_FOUND | 404:
            return CollectionLost(
                f"{doing}: Qdrant at {where} has lost the collection ({text}): "
                "ingest again, which creates a new one"
            )
        case StatusCode.INVALID_ARGUMENT | StatusCode.UNIMPLEMENTED | 400 | 422:
            return IndexRefused(f"{doing}: Qdrant at {where} refused the request: {text}")
        case StatusCode.UNAVAILABLE if (problem := certificate_problem(text)) is not None:
            return CertificateRefused(f"{doing} failed: Qdrant at {where}: {problem}")
        case StatusCode.UNAVAILABLE if (problem := tls_problem(text)) is not None:
            return IndexUnavailable(f"{doing} failed: Qdrant at {where}: {problem}")
        case StatusCode.UNAVAILABLE | 503 | None:
            return IndexUnavailable(
                f"{doing} failed: Qdrant at {where} does not answer ({text}): check that it "
                "runs, that index.url is its address, and that its gRPC port can be reached, "
                "then try again"
            )
        case StatusCode.DEADLINE_EXCEEDED | 408:
            return TooSlow(
                f"{doing} failed: Qdrant at {where} does not answer in time: it is overloaded or "
                "cannot be reached; see its log and its load, then try again"
            )
        case _:
            name = status.name if isinstance(status, StatusCode) else status
            return IndexUnavailable(
                f"{doing} failed: Qdrant at {where} answered {name} ({text}): see its log, "
                "then try again"
            )


def _no_point(doing: str, text: str) -> str:
    return f"{doing}: {text}: it was deleted in the meantime; write it again"
