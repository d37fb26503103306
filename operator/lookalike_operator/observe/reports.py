"""What the serving pods of a Retriever report: of it, and of each collection that they serve.

Duplicate scans run there, search settings are measured there, and calibrations are stored there. If
none answers, the status stays as it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel

from lookalike_crds.collection_report import CollectionReport
from lookalike_crds.retriever_report import RetrieverReport
from lookalike_operator.observe.answers import Answers
from lookalike_operator.observe.secrets import SecretKey
from lookalike_operator.plan.model import Meta, RetrieverFacts, Settings
from lookalike_operator.plan.names import internal_secret
from lookalike_operator.plan.secrets import INTERNAL_TOKEN
from lookalike_operator.plan.serving_config import service_url

_TIMEOUT_SECONDS = 2.0
_SHOWN_SECONDS = 60.0
_T = TypeVar("_T", bound=BaseModel)


class Reports:
    """`secret`: the value of a key of a Secret; None if there is none."""

    def __init__(
        self, secret: Callable[[SecretKey], Awaitable[str | None]], settings: Settings
    ) -> None:
        self._secret = secret
        self._settings = settings
        self._collections = Answers(CollectionReport, _SHOWN_SECONDS, timeout=_TIMEOUT_SECONDS)
        self._retrievers = Answers(RetrieverReport, _SHOWN_SECONDS, timeout=_TIMEOUT_SECONDS)

    async def close(self) -> None:
        await self._collections.close()
        await self._retrievers.close()

    async def of(self, collection: Meta, retriever: RetrieverFacts) -> CollectionReport | None:
        """Never raises for what the pods do or say."""
        asked = path("collections", collection.name)
        return await self._told(self._collections, collection.uid, retriever.meta, asked)

    async def of_retriever(self, retriever: Meta) -> RetrieverReport | None:
        """Never raises for what the pods do or say."""
        asked = path("retrievers", retriever.name)
        return await self._told(self._retrievers, retriever.uid, retriever, asked)

    async def _told(self, answers: Answers[_T], key: str, retriever: Meta, path: str) -> _T | None:
        if (kept := answers.kept(key)) is not None:
            return kept.told
        name, namespace = retriever.name, retriever.namespace
        token = await self._secret(SecretKey(namespace, internal_secret(name), INTERNAL_TOKEN))
        if token is None:
            return await answers.ask(key, None)
        url = f"{service_url(name, namespace, self._settings)}{path}"
        return await answers.ask(key, url, {"Authorization": f"Bearer {token}"})


def path(resources: str, name: str) -> str:
    """Of the route that the serving pods have for this."""
    return f"/internal/v1/{resources}/{name}/report"
