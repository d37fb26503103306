"""What the serving pods of a Retriever report of a collection: they have its index open.

Duplicate scans run there, and search settings are measured there. If none answers, the status
stays as it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lookalike_crds.collection_report import CollectionReport
from lookalike_operator.observe.answers import Answers
from lookalike_operator.observe.secrets import SecretKey
from lookalike_operator.plan.model import Meta, RetrieverFacts, Settings
from lookalike_operator.plan.names import internal_secret
from lookalike_operator.plan.secrets import INTERNAL_TOKEN
from lookalike_operator.plan.serving_config import service_url

_TIMEOUT_SECONDS = 2.0
_SHOWN_SECONDS = 60.0


class Reports:
    """`secret`: the value of a key of a Secret; None if there is none."""

    def __init__(
        self, secret: Callable[[SecretKey], Awaitable[str | None]], settings: Settings
    ) -> None:
        self._secret = secret
        self._settings = settings
        self._answers = Answers(CollectionReport, _SHOWN_SECONDS, timeout=_TIMEOUT_SECONDS)

    async def close(self) -> None:
        await self._answers.close()

    async def of(self, collection: Meta, retriever: RetrieverFacts) -> CollectionReport | None:
        """Never raises for what the pods do or say."""
        if (kept := self._answers.kept(collection.uid)) is not None:
            return kept.told
        name, namespace = retriever.meta.name, retriever.meta.namespace
        token = await self._secret(SecretKey(namespace, internal_secret(name), INTERNAL_TOKEN))
        if token is None:
            return await self._answers.ask(collection.uid, None)
        url = f"{service_url(name, namespace, self._settings)}{path(collection.name)}"
        headers = {"Authorization": f"Bearer {token}"}
        return await self._answers.ask(collection.uid, url, headers)


def path(collection: str) -> str:
    """Of the route that the serving pods have for this."""
    return f"/internal/v1/collections/{collection}/report"
