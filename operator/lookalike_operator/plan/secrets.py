"""Secrets that the operator creates once: the keys of a new endpoint, the token of its bulk route.

A plan names what is to be generated. The value is generated at the moment of creation, and no plan,
log or snapshot ever contains it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import Component, Owner, api_keys_secret, internal_secret

GENERATE = "lookalike.dev/generate"
"""Annotation: the key of the Secret that is given a random value."""

API_KEYS = "keys"
INTERNAL_TOKEN = "token"


def api_keys(owner: Owner) -> Manifest:
    """`<retriever>-api-keys`: an endpoint on a network is never open (one key a line)."""
    return _generated(owner, api_keys_secret(owner.name), API_KEYS)


def internal_token(owner: Owner) -> Manifest:
    """`<retriever>-internal`: what ingestion shows to the bulk route."""
    return _generated(owner, internal_secret(owner.name), INTERNAL_TOKEN)


def _generated(owner: Owner, name: str, key: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owner.metadata(name, Component.SERVING, annotations={GENERATE: key}),
        "type": "Opaque",
    }


def filled(manifest: Manifest, token: Callable[[], str]) -> Manifest:
    """A manifest of `Plan.once` as it is created. `token`: a new random text each time."""
    key = (manifest["metadata"].get("annotations") or {}).get(GENERATE)
    if manifest["kind"] != "Secret" or key is None:
        return manifest
    content: dict[str, Any] = {"stringData": {key: token()}}
    return {**manifest, **content}


def emptied(manifest: Manifest, live: Manifest) -> str | None:
    """The key that was generated and that the Secret no longer has; its value is nobody's business
    here."""
    key = (manifest["metadata"].get("annotations") or {}).get(GENERATE)
    return None if key is None or key in (live.get("data") or {}) else str(key)
