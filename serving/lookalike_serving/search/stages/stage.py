"""What a re-ranking stage is: what it wants of the index query, and what it does to candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

from lookalike_crds.stages import StageSpec
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.search.candidates import Candidate

S = TypeVar("S", bound=StageSpec)

STAGES: dict[type[StageSpec], type[Stage[Any]]] = {}
"""By the type that declares each. A stage adds itself by `of=`, as its class is defined."""


class Stage(ABC, Generic[S]):
    """One stage, as a request or a Retriever asks for it.

    The index is queried once for all stages, so each says beforehand what it will want; the
    defaults want nothing that a search without stages does not fetch.
    """

    needs_vectors: ClassVar[bool] = False
    """Whether candidates must come with their vectors."""

    def __init_subclass__(cls, *, of: type[StageSpec], **rest: Any) -> None:
        super().__init_subclass__(**rest)
        STAGES[of] = cls

    def __init__(self, spec: S) -> None:
        self.spec = spec

    def fields(self) -> Sequence[str]:
        """The metadata keys that it reads."""
        return ()

    def candidates(self, top_k: int) -> int:
        """How many candidates of each collection it chooses the `top_k` results from."""
        return top_k

    def favoured(self) -> Sequence[Filter]:
        """Documents that it may lift from below the nearest ones: for each filter, the index is
        asked for the nearest documents that match it, too."""
        return ()

    @abstractmethod
    def apply(self, candidates: Sequence[Candidate], top_k: int) -> list[Candidate]:
        """All candidates, best first. Only the order of the first `top_k` need be right."""
