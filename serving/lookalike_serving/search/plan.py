"""A request combined with a retriever's defaults, and checked before any work is done."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lookalike_crds.config import RetrieverConfig
from lookalike_crds.image_collection import Distance, FieldSpec
from lookalike_crds.retriever import Fusion
from lookalike_serving.documents.layout import RESERVED
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.index.filters.tree import Filter, unindexed_keys
from lookalike_serving.search import grouping, rerank
from lookalike_serving.search.facets import FacetPlan, plan_facets
from lookalike_serving.search.request import DEFAULT_INCLUDE, SearchRequest
from lookalike_serving.search.stages import Stage, stage_of
from lookalike_serving.service import CollectionState, Service

_METADATA = "metadata."


@dataclass(frozen=True, slots=True)
class Target:
    """One of the retriever's collections."""

    state: CollectionState
    weight: float

    @property
    def name(self) -> str:
        return self.state.name

    @property
    def distance(self) -> Distance:
        return self.state.config.vector.distance


@dataclass(frozen=True, slots=True)
class Include:
    """What results tell besides id and score."""

    all_metadata: bool
    metadata_keys: tuple[str, ...]
    image_url: bool
    thumbnail_url: bool
    vector: bool
    distance: bool
    collection: bool
    query_document: bool

    @classmethod
    def of(cls, names: Iterable[str] | None) -> Include:
        wanted = set(DEFAULT_INCLUDE if names is None else names)
        keys = sorted(name.removeprefix(_METADATA) for name in wanted if name.startswith(_METADATA))
        return cls(
            all_metadata="metadata" in wanted,
            metadata_keys=tuple(keys),
            image_url="image_url" in wanted,
            thumbnail_url="thumbnail_url" in wanted,
            vector="vector" in wanted,
            distance="distance" in wanted,
            collection="collection" in wanted,
            query_document="query_document" in wanted,
        )


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What the pipeline works from."""

    request: SearchRequest
    targets: tuple[Target, ...]
    filter: Filter | None
    top_k: int
    fusion: Fusion
    stages: tuple[Stage[Any], ...]
    include: Include
    fetch_limit: int
    """Candidates of each collection and round."""
    with_payload: bool | tuple[str, ...]
    with_vector: bool
    warnings: tuple[str, ...]
    facets: tuple[FacetPlan, ...] | None


def plan_search(service: Service, retriever: RetrieverConfig, request: SearchRequest) -> SearchPlan:
    """Raises Problem: 422 for a wrong request, 503 if a collection is not open."""
    targets = tuple(Target(service.collection(c.name), c.weight) for c in retriever.collections)
    defaults = retriever.search
    tree = parse_filters(request.filters, fields_of([target.state for target in targets]))
    asked = defaults.stages if request.rerank is None else request.rerank
    stages = tuple(stage_of(each) for each in asked)
    top_k = request.top_k or defaults.top_k
    include = Include.of(request.include)
    limit = grouping.fetch_limit(request.group_by, rerank.fetch_limit(stages, top_k))
    return SearchPlan(
        request=request,
        targets=targets,
        filter=tree,
        top_k=top_k,
        fusion=defaults.fusion,
        stages=stages,
        include=include,
        fetch_limit=limit,
        with_payload=_payload_keys(include, stages, request.group_by),
        with_vector=include.vector or request.explain or rerank.needs_vectors(stages),
        warnings=(
            *unindexed_warnings(tree, [target.state for target in targets]),
            *_mixed_scores(targets, defaults.fusion),
        ),
        facets=(
            None
            if request.facets is None
            else plan_facets([target.state for target in targets], request.facets, "facets")
        ),
    )


def _payload_keys(
    include: Include, stages: tuple[Stage[Any], ...], group_by: str | None
) -> bool | tuple[str, ...]:
    """All keys where all are reported; else just what results and stages read."""
    if include.all_metadata:
        return True
    keys = {RESERVED, *include.metadata_keys, *rerank.fields_of(stages)}
    if group_by is not None:
        keys.add(group_by)
    return tuple(sorted(keys))


def fields_of(states: Sequence[CollectionState]) -> Iterator[FieldSpec]:
    """The fields of several collections."""
    return itertools.chain.from_iterable(state.config.fields for state in states)


def unindexed_warnings(tree: Filter | None, states: Sequence[CollectionState]) -> list[str]:
    """A warning for each filter key that no payload index of a collection serves."""
    if tree is None:
        return []
    keys: dict[str, list[str]] = {}
    for state in states:
        for key in unindexed_keys(tree, state.config.fields):
            keys.setdefault(key, []).append(state.name)
    return [
        f"filters: no index in {', '.join(collections)} serves {key!r} with this operator. "
        "The filter works, but reads every document: list the key in spec.fields, with a type "
        "that fits"
        for key, collections in keys.items()
    ]


def _mixed_scores(targets: tuple[Target, ...], fusion: Fusion) -> list[str]:
    models = {target.state.embedder.info.fingerprint for target in targets}
    if len(models) > 1 and fusion is Fusion.WEIGHTED:
        return [
            "The retriever compares scores of different models. Set spec.search.fusion to RRF, "
            "which compares ranks"
        ]
    return []
