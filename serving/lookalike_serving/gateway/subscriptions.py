"""Confirms that this service wants the messages of an SNS topic.

Amazon sends an address to be opened. It is opened only if it is SNS's own, and asks SNS for nothing
but the confirmation of the topic that the message names: whoever may send events here must not make
this service open other addresses. The request itself has been authenticated before.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from lookalike_crds.failures import INVALID_REQUEST, SUBSCRIPTION_UNCONFIRMED
from lookalike_serving.problems import Problem

_HOST = re.compile(r"sns\.[a-z0-9-]{4,32}\.amazonaws\.com(\.cn)?")
_SECONDS = 10.0

log = logging.getLogger("lookalike.changes")


def confirmation_of(message: Mapping[str, Any]) -> str:
    """The address that confirms the subscription. Raises Problem 422."""
    url, topic = message.get("SubscribeURL"), message.get("TopicArn")
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        asked = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        own = parts.scheme == "https" and parts.port in (None, 443) and parts.username is None
    except ValueError:
        own, asked, parts = False, {}, urlsplit("")
    if (
        not own
        or _HOST.fullmatch(parts.hostname or "") is None
        or parts.path not in ("", "/")
        or asked.get("Action") != ["ConfirmSubscription"]
        or asked.get("TopicArn") != [topic]
    ):
        raise Problem(
            INVALID_REQUEST,
            "SubscribeURL is not an address of Amazon SNS that confirms the topic of the message: "
            "it is not opened. Subscribe again, or confirm the subscription yourself.",
        )
    return str(url)


async def confirm(message: Mapping[str, Any]) -> None:
    """Raises Problem 422 or 502."""
    url = confirmation_of(message)
    try:
        async with httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False) as client:
            answer = await client.get(url)
            answer.raise_for_status()
    except httpx.HTTPError as error:
        raise Problem(
            SUBSCRIPTION_UNCONFIRMED,
            f"The subscription to {message.get('TopicArn')} could not be confirmed "
            f"({type(error).__name__}): SNS sends the request again, or confirm it yourself.",
        ) from None
    log.info("confirmed the subscription to %s", message.get("TopicArn"))
