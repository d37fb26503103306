"""What an index takes: the parts add up, grow with what makes them, and read well on the CLI."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lookalike_cli.app import app
from lookalike_cli.sizing import Stored, per_million
from lookalike_crds.image_collection import HnswSpec, ImageCollectionSpec, Quantization, VectorSpec
from lookalike_crds.sizing import index_size

vectors = st.builds(
    VectorSpec,
    quantization=st.sampled_from(Quantization),
    on_disk=st.booleans(),
    hnsw=st.builds(HnswSpec, m=st.integers(4, 128)),
)


@given(st.integers(1, 10**8), st.integers(1, 4096), vectors, st.integers(0, 20))
def test_more_of_anything_takes_no_less(
    documents: int, dimension: int, vector: VectorSpec, fields: int
) -> None:
    def taken(more: int = 0, wider: int = 0, indexed: int = 0) -> tuple[int, int]:
        found = index_size(documents + more, dimension + wider, vector, fields=fields + indexed)
        assert found.disk == sum(part.disk for part in found.parts)
        return found.disk, found.memory

    disk, memory = taken()
    assert disk >= documents * dimension * 4
    for each in (taken(more=1), taken(wider=1), taken(indexed=1)):
        assert each[0] > disk
        assert each[1] >= memory


def test_memory_holds_what_the_settings_keep_there() -> None:
    def memory(vector: VectorSpec) -> float:
        return index_size(1_000_000, 512, vector).memory / 1e6

    plain, on_disk = memory(VectorSpec()), memory(VectorSpec(on_disk=True))
    scalar = memory(VectorSpec(on_disk=True, quantization=Quantization.SCALAR))
    binary = memory(VectorSpec(on_disk=True, quantization=Quantization.BINARY))
    assert plain - on_disk == pytest.approx(2048, abs=1)
    assert scalar - on_disk == pytest.approx(516, abs=1)
    assert binary - on_disk == pytest.approx(64, abs=1)


def test_a_copy_model_adds_a_vector_and_a_graph_of_its_own() -> None:
    vector = VectorSpec(quantization=Quantization.SCALAR, on_disk=True)
    alone, both = (index_size(10**6, 512, vector, copies=copies) for copies in (None, 256))
    parts = {part.name: part for part in both.parts}
    assert set(both.parts) > set(alone.parts)
    assert parts["graph of the copy model"].disk == parts["graph"].disk
    assert parts["vectors of the copy model"].disk * 2 == parts["vectors"].disk
    more = both.memory - alone.memory
    assert more == parts["graph"].memory + parts["quantised vectors of the copy model"].memory
    ran = CliRunner().invoke(
        app,
        "size --documents 1M --dimension 512 --copy-model-dimension 256 --output json".split(),
    )
    assert (
        json.loads(ran.output)["disk_bytes"]
        == index_size(10**6, 512, VectorSpec(), copies=256).disk
    )
    sscd = {"provider": "TorchScript", "name": "sscd_disc_mixup", "weights": "./sscd.pt"}
    spec = ImageCollectionSpec.model_validate(
        {"model": {"provider": "Demo"}, "duplicates": {"model": sscd}}
    )
    assert "128 dimensions, and 512 of the copy model, take" in str(per_million(spec))
    spec = ImageCollectionSpec.model_validate(
        {"model": {"provider": "Demo"}, "duplicates": {"model": {**sscd, "name": "own"}}}
    )
    assert per_million(spec) is None


def test_the_command_has_the_defaults_and_kinds_of_the_resource() -> None:
    """It repeats them, so that its help imports nothing of resources."""
    assert [each.value for each in Stored] == [each.value for each in Quantization]
    ran = CliRunner().invoke(
        app, ["size", "--documents", "1M", "--dimension", "512", "--output", "json"]
    )
    found = index_size(10**6, 512, VectorSpec())
    told = json.loads(ran.output)
    assert (told["disk_bytes"], told["memory_bytes"]) == (found.disk, found.memory)


@pytest.mark.parametrize(("said", "documents"), [("10M", 10**7), ("2,500,000", 2_500_000)])
def test_the_command_takes_numbers_as_people_write_them(said: str, documents: int) -> None:
    ran = CliRunner().invoke(
        app, ["size", "--documents", said, "--dimension", "512", "--output", "json"]
    )
    told = json.loads(ran.output)
    assert told["documents"] == documents
    assert told["disk_bytes"] == sum(part["disk_bytes"] for part in told["parts"].values())


@pytest.mark.parametrize("said", ["0", "-1", "many", "1e9M", "9" * 40, "1.2.3"])
def test_a_number_that_is_none_is_refused(said: str) -> None:
    ran = CliRunner().invoke(app, ["size", f"--documents={said}", "--dimension", "512"])
    assert ran.exit_code == 2
    assert "no number of documents" in " ".join(ran.output.replace("│", " ").split())
