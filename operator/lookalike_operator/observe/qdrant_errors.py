"""What went wrong when a Qdrant server was asked, in one line with the remedy."""

from __future__ import annotations

import logging

import httpx

from lookalike_crds.failures import INDEX_CERTIFICATE_REFUSED, INDEX_KEY_REFUSED
from lookalike_crds.tls import certificate_problem, tls_problem
from lookalike_operator.plan.model import QDRANT_UNAVAILABLE

log = logging.getLogger(__name__)


def reason_of(error: Exception) -> str:
    """The reason of the condition that reports it."""
    if status_of(error) in (401, 403):
        return INDEX_KEY_REFUSED.condition_reason
    if certificate_problem(str(_source(error))) is not None:
        return INDEX_CERTIFICATE_REFUSED.condition_reason
    return QDRANT_UNAVAILABLE


def status_of(error: Exception) -> int | None:
    """The status of an HTTP answer; None if there was none."""
    return getattr(error, "status_code", None)


def _source(error: Exception) -> Exception:
    """The error without what qdrant-client puts around it."""
    return getattr(error, "source", error)


def explained(error: Exception, url: str, *, has_key: bool) -> str:
    """One line: what went wrong and what to do.

    It contains nothing of the answer: whoever writes a collection chooses the address, and could
    otherwise read in its status what only the operator can reach. The log has the answer.
    """
    source, status = _source(error), status_of(error)
    if status in (401, 403) and not has_key:
        return (
            f"{url} requires an API key (HTTP {status}): put it into a Secret, and name the "
            "Secret in spec.index.qdrant.apiKeySecretRef"
        )
    if status in (401, 403):
        return (
            f"{url} refused the API key (HTTP {status}): put the right key into the Secret that "
            "spec.index.qdrant.apiKeySecretRef names"
        )
    if status is not None:
        body = getattr(error, "content", b"")
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
        log.info("%s answered HTTP %s: %s", url, status, _line(text))
        return (
            f"{url} answered HTTP {status}: check that it is the address of a Qdrant server; the "
            "log of the operator has the answer"
        )
    tls = certificate_problem(str(source)) or tls_problem(str(source))
    if isinstance(source, httpx.ConnectError) and tls is not None:
        return f"{url}: {tls}"
    if isinstance(source, httpx.ConnectTimeout | httpx.ConnectError):
        return (
            f"{url} is unreachable ({_line(str(source)) or type(source).__name__}): check that "
            "Qdrant runs there and that no NetworkPolicy blocks it"
        )
    if isinstance(source, httpx.TimeoutException | TimeoutError):
        return f"{url} timed out: Qdrant is overloaded or starting"
    if isinstance(source, httpx.TransportError):
        return (
            f"{url} closed the connection ({type(source).__name__}): Qdrant is restarting, or "
            "something else listens there: check the port"
        )
    log.info("%s: %s", url, _line(str(source)))
    return (
        f"{url} gave an answer that is not Qdrant's ({type(source).__name__}): check the "
        "address; the log of the operator has more"
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def is_not_found(error: Exception) -> bool:
    """Whether there is no such index. The local mode of the client says so by a ValueError."""
    status = getattr(error, "status_code", None)
    if status is not None:
        return bool(status == 404)
    return isinstance(error, ValueError) and "not found" in str(error)
