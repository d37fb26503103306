"""What of a ServingConfig a running process can take over, and what needs a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lookalike_crds.config import (
    AccessConfig,
    CollectionConfig,
    HttpConfig,
    IndexConfig,
    RetrieverConfig,
    ServingConfig,
    heavy_digest,
    heavy_of,
    light_of,
    with_light,
)
from lookalike_crds.image_collection import Engine, ModelSpec, Provider, VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_crds.retriever import CollectionRef, SearchSpec
from lookalike_crds.stages import BoostStage


def collection(name: str) -> CollectionConfig:
    index = IndexConfig(engine=Engine.EDGE, name=name, path=Path("/indexes") / name)
    return CollectionConfig(name=name, model=ModelSpec(), vector=VectorSpec(), index=index)


def retriever(weight: float = 1.0, **search: Any) -> RetrieverConfig:
    return RetrieverConfig(
        name="shop",
        collections=(CollectionRef(name="shoes", weight=weight),),
        search=SearchSpec(**search),
    )


BASE = ServingConfig(
    collections=(collection("shoes"),),
    retrievers=(retriever(),),
    data_dir=Path("/data"),
    batches_index=IndexConfig(engine=Engine.EDGE, name="batches", path=Path("/indexes/batches")),
)

OWNER = IndexOwner(cluster="here", name="shoes")
LIGHT: dict[str, dict[str, Any]] = {
    "default of top_k": {"retrievers": (retriever(top_k=3),)},
    "default of min_score": {"retrievers": (retriever(min_score=0.5),)},
    "stages": {
        "retrievers": (retriever(stages=(BoostStage(field="sale", value=True, weight=1),)),)
    },
    "weight of a collection": {"retrievers": (retriever(2.0),)},
    "rate limit": {"access": AccessConfig(rate_limit_per_second=5)},
    "public address": {"http": HttpConfig(public_url="https://search.example.com")},
    "Edge index, of another model": {
        "collections": (
            collection("shoes").model_copy(
                update={
                    "model": ModelSpec(provider=Provider.TIMM, name="resnet18"),
                    "index": collection("shoes-2").index,
                }
            ),
        )
    },
}
HEAVY: dict[str, dict[str, Any]] = {
    "another collection": {"collections": (collection("shoes"), collection("bags"))},
    "port": {"http": HttpConfig(port=9000)},
    "keys": {"access": AccessConfig(api_keys_file=Path("/keys"))},
    "image folders": {"image_roots": (Path("/images"),)},
    "owner of an Edge index": {
        "collections": (
            collection("shoes").model_copy(
                update={"index": collection("shoes").index.model_copy(update={"owner": OWNER})}
            ),
        )
    },
}


@pytest.mark.parametrize("change", LIGHT.values(), ids=LIGHT)
def test_a_light_change_leaves_the_digest_and_can_be_taken_over(change: dict[str, Any]) -> None:
    wanted = BASE.model_copy(update=change)
    assert heavy_digest(wanted) == heavy_digest(BASE)
    assert light_of(wanted) != light_of(BASE)
    assert with_light(BASE, light_of(wanted)) == wanted


@pytest.mark.parametrize("change", HEAVY.values(), ids=HEAVY)
def test_a_heavy_change_changes_the_digest(change: dict[str, Any]) -> None:
    wanted = BASE.model_copy(update=change)
    assert heavy_digest(wanted) != heavy_digest(BASE)
    before, after = (
        light_of(config).model_copy(update={"answering": ()}) for config in (BASE, wanted)
    )
    assert before == after, "but for the new collection and index"


def test_a_changed_model_of_an_index_on_a_server_needs_new_processes() -> None:
    index = IndexConfig(engine=Engine.QDRANT, name="shoes", url="http://qdrant:6333")
    before = BASE.model_copy(
        update={"collections": (collection("shoes").model_copy(update={"index": index}),)}
    )
    model = ModelSpec(provider=Provider.TIMM, name="resnet18")
    after = before.model_copy(
        update={"collections": (before.collections[0].model_copy(update={"model": model}),)}
    )
    assert heavy_digest(after) != heavy_digest(before)
    assert light_of(after).answering == ()


def test_only_the_light_part_tells_which_edge_index_answers() -> None:
    [heavy] = heavy_of(BASE).collections
    assert not heavy.index.is_told
    assert light_of(heavy_of(BASE)).answering == ()
    [told] = with_light(heavy_of(BASE), light_of(BASE)).collections
    assert told.index.is_told


def test_both_parts_put_together_are_the_whole() -> None:
    assert with_light(heavy_of(BASE), light_of(BASE)) == BASE
    assert heavy_of(heavy_of(BASE)) == heavy_of(BASE)


def test_a_light_part_survives_json() -> None:
    light = light_of(BASE.model_copy(update=LIGHT["stages"]))
    assert type(light).model_validate(light.as_json()) == light


def test_a_retriever_of_a_collection_that_is_not_served_is_refused() -> None:
    wanted = RetrieverConfig(name="shop", collections=(CollectionRef(name="bags"),))
    light = light_of(BASE).model_copy(update={"retrievers": (wanted,)})
    with pytest.raises(ValueError, match=r"collection bags.*not served here \(shoes\)"):
        with_light(BASE, light)
