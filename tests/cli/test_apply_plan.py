"""What applying changed files to a running server is said to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lookalike_cli.apply_plan import Configuration, Documents, Step, refused, steps
from lookalike_cli.rendering import render
from lookalike_crds.config import HttpConfig
from lookalike_crds.load import load_resources
from lookalike_serving.machine.rundir import RunDirectory

COLLECTION = """
apiVersion: lookalike.dev/v1alpha1
kind: ImageCollection
metadata: {{ name: {name} }}
spec:
  model: {model}
  vector: {vector}
  fields: {fields}
  sources: {sources}
---
"""
RETRIEVER = """
apiVersion: lookalike.dev/v1alpha1
kind: Retriever
metadata: {{ name: {name} }}
spec: {{ collections: [{{ name: shop }}], search: {search} }}
---
"""
PICTURES = "[{ name: pictures, volume: { path: /pictures } }]"
TIMM = "{ provider: Timm, name: resnet50.a1_in1k }"


def shop(**changes: str) -> str:
    usual = {
        "name": "shop",
        "model": "{ provider: Demo }",
        "vector": "{}",
        "fields": "[{ name: price, type: Integer }]",
        "sources": PICTURES,
    }
    return COLLECTION.format(**(usual | changes))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.of(tmp_path / "data")


def configuration(run: RunDirectory, text: str) -> Configuration:
    loaded = load_resources(text)
    assert not loaded.errors, loaded.errors
    made = render(loaded, run, HttpConfig(), None)
    return Configuration(made.serving, {each.collection.name: each for each in made.ingestions})


def planned(
    run: RunDirectory, before: str, after: str, documents: Documents | None = None
) -> list[Step]:
    counted = {"shop": (7, 0)} if documents is None else documents
    return steps(configuration(run, before), configuration(run, after), counted)


def test_files_that_say_the_same_change_nothing(run: RunDirectory) -> None:
    assert planned(run, shop(), shop()) == []
    in_words = shop(vector="{ distance: Cosine }")
    assert planned(run, shop(), in_words) == [], "a default that is written out"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"fields": "[{ name: price, type: Integer }, { name: kind, type: Keyword }]"},
            "field kind (Keyword) is indexed",
        ),
        (
            {"fields": "[{ name: price, type: Float }]"},
            "field price is Float and was Integer: values that are not Float stay, and no filter "
            "finds them until they are written again",
        ),
        ({"fields": "[]"}, "field price is no longer indexed; its values stay"),
        (
            {"vector": "{ onDisk: true }"},
            "its index is opened again, and searches of it wait until then: "
            "spec.vector.onDisk: false -> true",
        ),
        (
            {"model": TIMM},
            "is embedded again with the model Timm resnet50.a1_in1k; the model Demo answers until "
            "that is complete",
        ),
        (
            {"model": "{ gate: { minRecall: 0.8 }, keepPrevious: 1d }"},
            "at once: what spec.model asks of the next change of the model",
        ),
        (
            {"sources": "[{ name: pictures, volume: { path: /others } }]"},
            "source pictures is read again: volume.path: /pictures -> /others",
        ),
        (
            {"sources": "[]"},
            "source pictures is no longer read; its documents stay: `lookalike delete --source "
            "pictures` deletes them",
        ),
    ],
)
def test_each_change_of_a_collection_says_what_it_does(
    run: RunDirectory, change: dict[str, str], told: str
) -> None:
    [step] = planned(run, shop(), shop(**change))
    assert (step.sign, step.resource, step.loses) == ("~", "ImageCollection/shop", ())
    assert told in step.lines


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"s3": {"archives": True}}, "s3.archives: false -> true"),
        ({"s3": {"archives": True, "imageColumn": "image"}}, "s3.imageColumn: (none) -> image"),
        ({"s3": {"startAfter": "2024/"}}, "s3.startAfter: (none) -> 2024/"),
        ({"s3": {"inventory": "s3://lists/daily/"}}, "s3.inventory: (none) -> s3://lists/daily/"),
        ({"metadata": {"sidecars": True}}, "metadata.sidecars: false -> true"),
        ({"metadata": {"constants": {"shop": "north"}}}, "metadata.constants"),
        ({"metadata": {"userMetadata": True}}, "metadata.userMetadata: false -> true"),
        ({"metadata": {"tags": True}}, "metadata.tags: false -> true"),
        ({"metadata": {"exif": True}}, "metadata.exif: false -> true"),
        ({"idPrefix": "north/"}, "idPrefix"),
    ],
    ids=str,
)
def test_every_field_of_a_source_that_changes_what_comes_in_has_it_read_again(
    run: RunDirectory, change: dict[str, dict[str, Any]], told: str
) -> None:
    source: dict[str, Any] = {"name": "pictures", "s3": {"bucket": "photos"}}
    after = {**source, **change}
    if "s3" in change:
        after["s3"] = {**source["s3"], **change["s3"]}
    before_text, after_text = (shop(sources=json.dumps([each])) for each in (source, after))
    [step] = planned(run, before_text, after_text)
    [line] = [each for each in step.lines if each.startswith("source pictures is read again")]
    assert told in line


def test_members_of_archives_bring_metadata_whose_types_matter(run: RunDirectory) -> None:
    shards = "[{ name: pictures, s3: { bucket: photos, archives: true } }]"
    typed = "[{ name: price, type: Float }]"
    (step,) = planned(run, shop(sources=shards), shop(sources=shards, fields=typed))
    assert any("because the types of fields changed" in line for line in step.lines)


def test_another_precision_of_the_model_is_told(run: RunDirectory) -> None:
    in_full = "{ provider: Timm, name: resnet50.a1_in1k, precision: FP32 }"
    [step] = planned(run, shop(model=TIMM), shop(model=in_full))
    assert (step.sign, step.resource, step.loses) == ("~", "ImageCollection/shop", ())
    assert "at once: spec.model.precision: Auto -> FP32" in step.lines


def test_pictures_that_are_read_for_their_hashes_are_told_as_that(run: RunDirectory) -> None:
    hashed = shop().replace("spec:\n", "spec:\n  duplicates: { sensitivity: Balanced }\n", 1)
    (step,) = planned(run, shop(), hashed)
    assert [each for each in step.lines if "is read again" in each] == [
        "source pictures is read again for what spec.duplicates keeps of each picture"
    ]


def test_a_field_with_another_type_has_metadata_read_again(run: RunDirectory) -> None:
    table = "[{ name: pictures, volume: { path: /pictures }, metadata: { file: rows.csv } }]"
    typed = "[{ name: price, type: Float }]"
    (step,) = planned(run, shop(sources=table), shop(sources=table, fields=typed))
    again = (
        "source pictures is read again because the types of fields changed; no image is embedded "
        "for that"
    )
    assert again in step.lines
    (step,) = planned(run, shop(), shop(fields=typed))
    assert again not in step.lines, "files alone bring no metadata"


def test_when_a_source_is_read_is_no_change_on_one_machine(run: RunDirectory) -> None:
    hourly = '[{ name: pictures, schedule: "0 * * * *", volume: { path: /pictures } }]'
    assert planned(run, shop(), shop(sources=hourly)) == []


def test_what_is_new_and_what_is_gone(run: RunDirectory) -> None:
    before = shop() + RETRIEVER.format(name="find", search="{}")
    after = shop(name="more") + shop() + RETRIEVER.format(name="seek", search="{}")
    told = {each.resource: (each.sign, each.lines) for each in planned(run, before, after)}
    assert told == {
        "ImageCollection/more": ("+", ("is added, with the model Demo", "source pictures is read")),
        "Retriever/find": ("-", ("is no longer searchable",)),
        "Retriever/seek": ("+", ("is added, over shop",)),
    }


def test_a_collection_that_is_gone_loses_what_it_holds(run: RunDirectory) -> None:
    [step, _] = planned(run, shop(), shop(name="more"), {"shop": (1234, 0)})[::-1]
    assert step.sign == "-"
    assert step.loses == ("1,234 documents of collection shop",)
    [step, _] = planned(run, shop(), shop(name="more"), {"shop": (0, 0)})[::-1]
    assert step.loses == ()


def test_another_model_loses_nothing(run: RunDirectory) -> None:
    [step] = planned(run, shop(), shop(model=TIMM), {"shop": (7, 1)})
    assert (
        "1 document that no source can provide again is embedded from the stored images"
        in step.lines
    )
    assert step.loses == ()
    [step] = planned(run, shop(sources="[]"), shop(model=TIMM, sources="[]"), {"shop": (7, 7)})
    assert "the model Demo answers until that is complete" in step.lines[0]
    [step] = planned(run, shop(sources="[]"), shop(model=TIMM, sources="[]"), {"shop": (0, 0)})
    assert step.lines == (
        "continues with the model Timm resnet50.a1_in1k and an index of its own, which is empty "
        "at first",
    )


def test_a_change_that_is_taken_back_before_it_is_complete_is_a_change(run: RunDirectory) -> None:
    now, wanted = configuration(run, shop()), configuration(run, shop(model=TIMM))
    filling = now.serving.model_copy(update={"filling": wanted.serving.collections})
    [step] = steps(Configuration(filling, wanted.ingestions), now, {"shop": (7, 0)})
    assert step.lines == (
        "is no longer embedded again with the model Timm resnet50.a1_in1k: the model Demo, which "
        "answers now, stays",
    )
    [step] = steps(Configuration(filling, wanted.ingestions), wanted, {"shop": (7, 0)})
    assert step.lines[0].startswith("is embedded again with the model Timm")


def test_every_changed_setting_of_a_retriever_is_told_also_one_that_is_left_out_again(
    run: RunDirectory,
) -> None:
    before = shop() + RETRIEVER.format(name="find", search="{ topK: 7, minScore: 0.5 }")
    after = shop() + RETRIEVER.format(name="find", search="{ topK: 9 }")
    [step] = planned(run, before, after)
    assert step.lines == ("at once: spec.search.topK: 7 -> 9; spec.search.minScore: 0.5 -> (none)",)


def test_what_a_cluster_refuses_is_refused_in_its_words(run: RunDirectory) -> None:
    before, after = (
        configuration(run, each).serving for each in (shop(), shop(vector="{ distance: Dot }"))
    )
    [told] = refused(before, after)
    assert told.startswith(
        "ImageCollection/shop spec.vector.distance: vector.distance is immutable"
    )
