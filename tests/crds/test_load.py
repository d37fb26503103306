"""Files of resources: every problem at once, each with its place and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_crds.load import MAX_BYTES, load_files, load_resources, local_warnings
from lookalike_crds.naming import index_name

HEAD = "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: {name: catalogue}\n"
RETRIEVER = (
    "apiVersion: lookalike.dev/v1alpha1\nkind: Retriever\nmetadata: {name: r}\n"
    "spec: {collections: [{name: catalogue}]}\n"
)
EXAMPLES = Path(__file__).parents[2] / "examples"


def problems(text: str, **options: bool) -> list[str]:
    return [str(p) for p in load_resources(text, "f.yaml", **options).problems]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.name)
def test_the_examples_have_no_problems(path: Path) -> None:
    loaded = load_files([path], standalone=True)
    assert loaded.problems == ()
    assert loaded.resources


def test_all_errors_of_all_documents_come_at_once() -> None:
    said = problems(
        HEAD + "spec: {vectr: {}, model: {provider: OpenCLIP}}\n---\nkind: Retreiver\n---\n"
        "apiVersion: lookalike.dev/v1alpha1\nkind: Retriever\nmetadata: {name: r}\n"
        "spec: {collections: [{name: c}], search: {topK: 5000}}\n"
    )
    assert len(said) == 4
    assert "spec.vectr: is not known: did you mean vector?" in said[1]
    assert "spec.model.provider is 'OpenCLIP'" in said[0]
    assert "did you mean OpenClip?" in said[0]
    assert "document 2" in said[2]
    assert "did you mean Retriever?" in said[2]
    assert "spec.search.topK is 5000" in said[3]


def test_a_broken_rule_names_its_place() -> None:
    (said,) = problems(HEAD + "spec: {sources: [{name: a}]}\n")
    assert "ImageCollection/catalogue spec.sources[0]: write exactly one of volume" in said


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [1", "line 1"),
        ("a: 1\na: 2", "line 2, column 1: the key 'a' stands twice"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: !!python/object:os.system 1", "could not determine a constructor"),
        ("1: a", "is not text"),
        ("- a", "is a list, not a resource"),
        ("", "holds no resource"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_yaml_that_cannot_be_read_is_told_with_its_line(text: str, part: str) -> None:
    assert part in problems(text)[0]


def test_a_wrong_api_version_is_told_with_the_right_one() -> None:
    said, *_ = problems(RETRIEVER.replace("v1alpha1", "v1"))
    assert "apiVersion is 'lookalike.dev/v1': write lookalike.dev/v1alpha1" in said


def test_two_resources_of_one_name_are_refused() -> None:
    (said,) = problems(HEAD + "---\n" + HEAD)
    assert "is taken by f.yaml document 1" in said


def test_a_missing_collection_is_an_error_on_one_machine_and_a_warning_on_a_cluster() -> None:
    alone = load_resources(RETRIEVER, standalone=True)
    cluster = load_resources(RETRIEVER)
    assert [p.path for p in alone.errors] == ["spec.collections[0].name"]
    assert cluster.errors == ()
    assert len(cluster.warnings) == 1


def test_a_collection_with_errors_of_its_own_is_not_called_missing() -> None:
    said = problems(HEAD + "spec: {vectr: {}}\n---\n" + RETRIEVER, standalone=True)
    assert len(said) == 1


def test_files_that_cannot_be_read_are_problems_too(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    loaded = load_files([tmp_path / n for n in ("none.yaml", "big.yaml", "latin.yaml")])
    assert [p.source.rsplit("/", 1)[1] for p in loaded.errors] == [
        "none.yaml",
        "big.yaml",
        "latin.yaml",
    ]


def test_what_one_machine_does_not_do_is_said() -> None:
    text = HEAD + (
        "spec: {sources: [{name: a, volume: {path: x}, schedule: '@daily'}]}\n---\n" + RETRIEVER
    )
    loaded = load_resources(text)
    said = [w for r in loaded.resources for w in local_warnings(r)]
    assert len(said) == 1
    assert "spec.sources[0].schedule" in said[0]


def test_index_names_differ_by_model_and_fit_a_label() -> None:
    clip = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32", weights="openai")
    other = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32", weights="laion2b_s34b_b79k")
    fast = clip.model_copy(update={"precision": Precision.BF16})
    assert index_name("c", clip) != index_name("c", other)
    assert index_name("c", clip) == index_name("c", fast)
    assert len(index_name("c" * 63, clip)) <= 63
    assert index_name("c" * 62 + "a", clip) != index_name("c" * 62 + "b", clip)


_TWO_FOLDERS = """
apiVersion: lookalike.dev/v1alpha1
kind: ImageCollection
metadata: {{ name: shop }}
spec:
  sources:
    - {{ name: north, volume: {{ path: ./north }} }}
    - {{ name: south, volume: {{ path: ./south }}{rest} }}
"""


def test_folders_that_may_give_the_same_ids_are_told_with_the_line_to_write() -> None:
    loaded = load_resources(_TWO_FOLDERS.format(rest=""))
    assert not loaded.errors
    (warning,) = loaded.warnings
    assert warning.path == "spec.sources[1].idPrefix"
    assert "sources north and south" in warning.message
    assert "idPrefix: south/" in warning.message


@pytest.mark.parametrize(
    "rest", [", idPrefix: south/", ", metadata: { documentId: sku, file: rows.csv }"]
)
def test_folders_whose_ids_differ_are_no_warning(rest: str) -> None:
    assert load_resources(_TWO_FOLDERS.format(rest=rest)).problems == ()
