"""Reading bytes with `obstore`, the Rust client of all three services.

It addresses objects by paths of non-empty segments, so a few keys that services allow – with `//`,
`.` or control characters – are out of its reach: `addressable` tells which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from lookalike_serving.images.buckets.secret_files import CA
from lookalike_serving.images.fetch import AGENT

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

RENEWED = timedelta(minutes=5)
"""So long it uses credentials that it was given, before it asks for them again."""
RETRIES: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}


def client_options(endpoint: str | None, secret: Mapping[str, str] | None = None) -> ClientConfig:
    """`secret`: may have certificates to trust beside the usual ones."""
    options: ClientConfig = {
        "user_agent": AGENT,
        "connect_timeout": "10s",
        "timeout": "60s",
        "allow_http": (endpoint or "").startswith("http://"),
    }
    if secret is not None and CA in secret:
        options["root_certificate"] = secret[CA]
    return options


def addressable(key: str) -> bool:
    """Whether the client can name the object, and names no other instead."""
    return key.isprintable() and all(part not in ("", ".", "..") for part in key.split("/"))


def comes_after(key: str, other: str | None) -> bool:
    """In the order in which services list keys: that of their bytes in UTF-8."""
    return other is None or key.encode() > other.encode()


def brief(text: str) -> str:
    """What a service said, without the client's own account of how it came about."""
    said = text.partition("Debug source")[0]
    if message := re.search(r"<Message>(.*?)</Message>", said, re.DOTALL):
        detail = re.search(r"<AuthenticationErrorDetail>(Sign(?:ed|ature) .*?)</", said, re.DOTALL)
        return f"{detail[1]} {message[1]}" if detail else message[1]
    # Of what is no answer of a service of buckets the status alone is told, not its text.
    said = re.sub(r"(non-2xx status code: \d{3}[A-Za-z ]*).*", r"\1", said, flags=re.DOTALL)
    return re.sub(r"Error performing [A-Z]+ \S+ in \S+ - ", "", said)
