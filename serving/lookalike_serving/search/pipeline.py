"""A search from request to answer, top to bottom.

    plan -> embed the queries -> combine them per collection -> query the indexes -> fuse
         -> rerank -> group -> min_score -> count facets -> respond

Data goes one way. Only grouping may ask the indexes again, for documents of values not yet seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lookalike_crds.config import RetrieverConfig
from lookalike_serving.index.filters.tree import And, Filter, HasId, Not
from lookalike_serving.index.protocol import Hit, Query
from lookalike_serving.index.unfit import unfit_warnings
from lookalike_serving.search import grouping
from lookalike_serving.search.candidates import Candidate, traced
from lookalike_serving.search.combine import CombinedQuery, combine
from lookalike_serving.search.copies import search_copies
from lookalike_serving.search.cut_off import cut_off
from lookalike_serving.search.embedding import EmbeddedRequest, embed_queries
from lookalike_serving.search.facets import count_facets
from lookalike_serving.search.fusion import fuse
from lookalike_serving.search.plan import SearchPlan, Target, plan_search
from lookalike_serving.search.request import Mode, SearchRequest
from lookalike_serving.search.rerank import extra_filters, rerank
from lookalike_serving.search.respond import respond
from lookalike_serving.search.timing import Stopwatch
from lookalike_serving.service import Service
from lookalike_serving.together import together

_MANY_CANDIDATES = 500
"""Reranking more than these takes long enough to leave the event loop."""


async def search(
    service: Service,
    retriever: RetrieverConfig,
    request: SearchRequest,
    parts: Mapping[str, bytes],
    clock: Stopwatch,
) -> dict[str, Any]:
    """The answer as JSON-ready data (shape: SearchResponse). `parts` holds multipart files.

    Raises Problem (wrong request, closed collection), ImageError (a query that is no image) and
    IndexFailure.
    """
    if request.mode is Mode.COPIES:
        return await search_copies(service, retriever, request, parts, clock)
    plan = plan_search(service, retriever, request)
    cut = await cut_off(service, retriever, request)
    embedded = await embed_queries(service, plan, parts, clock)
    queries = {
        target.name: combine(embedded.queries[target.name], target.distance)
        for target in plan.targets
        if embedded.queries[target.name]
    }
    ranked, warnings = await _ranked(service, plan, embedded, queries, clock)
    kept = [candidate for candidate in ranked if cut.keeps(candidate)]
    if plan.filter is not None and queries and not ranked:
        for target in plan.targets:
            index, fields = target.state.index, target.state.config.fields
            warnings += await unfit_warnings(index, target.name, plan.filter, fields)
    if ranked and not kept:
        warnings.append(cut.unreached(ranked))
    counted = None
    if plan.facets is not None:
        with clock.stage("facets"):
            states = [target.state for target in plan.targets]
            counted = await count_facets(states, plan.filter, plan.facets, "facets")
            warnings = [*warnings, *counted.warnings]
    return respond(
        kept[: plan.top_k],
        plan,
        queries,
        clock,
        [*plan.warnings, *cut.warnings, *embedded.warnings, *warnings],
        service.config.http.public_url,
        counted,
        min_score=cut.min_score,
    )


async def _ranked(
    service: Service,
    plan: SearchPlan,
    embedded: EmbeddedRequest,
    queries: Mapping[str, CombinedQuery],
    clock: Stopwatch,
) -> tuple[list[Candidate], list[str]]:
    """Candidates after every stage, best first, and what to warn of."""
    hits: dict[str, list[Hit]] = {target.name: [] for target in plan.targets}
    unseen: Filter | None = None
    ranked: list[Candidate] = []
    key = plan.request.group_by
    for _ in range(grouping.MAX_ROUNDS):
        with clock.stage("index"):
            exhausted = await _query(plan, embedded, queries, unseen, hits)
        with clock.stage("fuse"):
            weights = {target.name: target.weight for target in plan.targets}
            ranked = fuse(hits, weights, plan.fusion)
            if plan.request.explain:
                ranked = traced(ranked, "index" if len(hits) == 1 else f"fusion {plan.fusion}")
        if plan.stages:
            with clock.stage("rerank"):
                ranked = await _reranked(service, plan, ranked)
        if key is None:
            return ranked, []
        with clock.stage("group"):
            groups = grouping.best_of_each(ranked, key)
        if exhausted or len(groups) >= plan.top_k:
            return groups, []
        unseen = grouping.unseen(groups, key)
    return groups, [
        f"group_by: {len(groups)} groups were found in {grouping.MAX_ROUNDS} rounds, fewer than "
        f"top_k {plan.top_k}; there may be more. Narrow the search with filters"
    ]


async def _query(
    plan: SearchPlan,
    embedded: EmbeddedRequest,
    queries: Mapping[str, CombinedQuery],
    unseen: Filter | None,
    hits: dict[str, list[Hit]],
) -> bool:
    """Add a round's hits to each collection's; True if no collection has more."""
    answers = await together(
        [
            _query_one(plan, target, embedded, queries.get(target.name), unseen)
            for target in plan.targets
        ]
    )
    for target, (found, _) in zip(plan.targets, answers, strict=True):
        known = {hit.id for hit in hits[target.name]}
        hits[target.name].extend(hit for hit in found if hit.id not in known)
    return all(exhausted for _, exhausted in answers)


async def _query_one(
    plan: SearchPlan,
    target: Target,
    embedded: EmbeddedRequest,
    query: CombinedQuery | None,
    unseen: Filter | None,
) -> tuple[list[Hit], bool]:
    """One collection's hits, best first, and whether it has no more: none without a query."""
    if query is None:
        return [], True
    asked_with = embedded.asked_with[target.name]
    hide = Not((HasId(asked_with),)) if asked_with and not plan.include.query_document else None
    base = _all_of(plan.filter, hide, unseen)
    filters = [base, *(_all_of(base, favoured) for favoured in extra_filters(plan.stages))]
    asked = [
        Query(
            vector=query.vector,
            limit=plan.fetch_limit,
            filter=tree,
            exact=plan.request.exact,
            with_payload=plan.with_payload,
            with_vector=plan.with_vector,
        )
        for tree in filters
    ]
    if len(asked) == 1:
        found = await target.state.index.query(asked[0])
        return found, len(found) < plan.fetch_limit
    lists = await target.state.index.query_batch(asked)
    merged = {hit.id: hit for each in lists for hit in each}
    best_first = sorted(merged.values(), key=lambda hit: -hit.score)
    return best_first, all(len(each) < plan.fetch_limit for each in lists)


def _all_of(*filters: Filter | None) -> Filter | None:
    present = tuple(tree for tree in filters if tree is not None)
    if len(present) < 2:
        return present[0] if present else None
    return And(present)


async def _reranked(
    service: Service, plan: SearchPlan, candidates: list[Candidate]
) -> list[Candidate]:
    trace = plan.request.explain
    depth = len(candidates) if plan.request.group_by else plan.top_k
    if len(candidates) > _MANY_CANDIDATES:
        return await service.in_thread(rerank, candidates, plan.stages, depth, trace=trace)
    return rerank(candidates, plan.stages, depth, trace=trace)
