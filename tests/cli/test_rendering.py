"""Resources become the configs that the server process reads."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from lookalike_cli.failure import Failure
from lookalike_cli.rendering import Rendered, beside_former, render
from lookalike_crds.config import HttpConfig, IngestionConfig, ServingConfig
from lookalike_crds.image_collection import Engine, ModelSpec, Provider
from lookalike_crds.load import load_files
from lookalike_crds.naming import index_name
from lookalike_serving.indexes.remembered import remember
from lookalike_serving.machine.edge_places import MANIFEST
from lookalike_serving.machine.rundir import RunDirectory

HEAD = "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: { name: shoes }\n"
RETRIEVER = """\
---
apiVersion: lookalike.dev/v1alpha1
kind: Retriever
metadata: { name: shop }
spec: { collections: [{ name: shoes, weight: 2 }], search: { topK: 7 } }
"""


def rendered(folder: Path, spec: str, *, host: str = "127.0.0.1") -> Rendered:
    file = folder / "yaml" / "x.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(HEAD + spec + RETRIEVER)
    loaded = load_files([file], standalone=True)
    assert not loaded.errors
    run = RunDirectory.of(folder / "data")
    run.path.mkdir(parents=True, exist_ok=True)
    return render(loaded, run, HttpConfig(host=host, port=8123), None)


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    made = rendered(tmp_path, "spec: { sources: [{ name: s, volume: { path: ../pictures } }] }\n")
    (source,) = made.ingestions[0].sources
    assert source.volume is not None
    assert Path(source.volume.path) == tmp_path / "pictures"
    assert made.serving.image_roots == (tmp_path / "pictures",)


def test_a_manifests_folder_holds_its_pictures(tmp_path: Path) -> None:
    made = rendered(tmp_path, "spec: { sources: [{ name: s, urls: { manifest: m.csv } }] }\n")
    assert made.serving.image_roots == (tmp_path / "yaml",)


def test_a_manifest_elsewhere_stays_an_address(tmp_path: Path) -> None:
    address = "https://example.com/m.csv"
    spec = f"spec: {{ sources: [{{ name: s, urls: {{ manifest: '{address}' }} }}] }}\n"
    made = rendered(tmp_path, spec)
    (source,) = made.ingestions[0].sources
    assert source.urls is not None
    assert source.urls.manifest == address
    assert made.serving.image_roots == ()


def test_retrievers_are_carried_over(tmp_path: Path) -> None:
    (retriever,) = rendered(tmp_path, "spec: {}\n").serving.retrievers
    assert (retriever.name, retriever.collections[0].weight, retriever.search.top_k) == (
        "shop",
        2,
        7,
    )


def test_an_index_lies_in_the_data_directory(tmp_path: Path) -> None:
    (collection,) = rendered(tmp_path, "spec: {}\n").serving.collections
    assert collection.index.engine is Engine.EDGE
    assert collection.index.path == tmp_path / "data" / "indexes" / collection.index.name


def test_another_model_has_another_index(tmp_path: Path) -> None:
    one = rendered(tmp_path, "spec: {}\n").serving.collections[0]
    spec = "spec: { model: { provider: OpenClip, name: ViT-B-32, weights: openai } }\n"
    other = rendered(tmp_path, spec).serving.collections[0]
    assert one.index.name != other.index.name


def test_qdrant_without_an_address_runs_on_edge_and_says_so(tmp_path: Path) -> None:
    made = rendered(tmp_path, "spec: { index: { engine: Qdrant } }\n")
    assert made.serving.collections[0].index.engine is Engine.EDGE
    assert "on this machine, Edge is used" in made.notices[0]


def test_nothing_is_said_where_no_engine_was_asked_for(tmp_path: Path) -> None:
    assert rendered(tmp_path, "spec: {}\n").notices == ()


def test_a_qdrant_server_is_used_where_it_is_named(tmp_path: Path) -> None:
    spec = "spec: { index: { engine: Qdrant, qdrant: { url: 'http://q:6333', shards: 2 } } }\n"
    index = rendered(tmp_path, spec).serving.collections[0].index
    assert (index.engine, index.url, index.shards) == (Engine.QDRANT, "http://q:6333", 2)


@pytest.mark.parametrize(
    ("said", "port"), [("grpcPort: 7000", 7000), ("protocol: Rest", None), ("shards: 1", 6334)]
)
def test_a_qdrant_servers_protocol_and_port_reach_serving(
    tmp_path: Path, said: str, port: int | None
) -> None:
    spec = f"spec: {{ index: {{ engine: Qdrant, qdrant: {{ url: 'http://q', {said} }} }} }}\n"
    assert rendered(tmp_path, spec).serving.collections[0].index.grpc_port == port


def test_several_addresses_and_a_ca_beside_the_file_reach_serving(tmp_path: Path) -> None:
    (tmp_path / "yaml").mkdir()
    urls = ["https://a:6333", "https://b:6333"]
    spec = (
        f"spec: {{ index: {{ engine: Qdrant, qdrant: {{ urls: {urls}, "
        "ca: { path: ca.pem, secretRef: { name: a, key: b } } } } }\n"
    )
    with pytest.raises(Failure, match=r"ca\.path: there is no file .*ca\.pem"):
        rendered(tmp_path, spec)
    (tmp_path / "yaml" / "ca.pem").touch()
    index = rendered(tmp_path, spec).serving.collections[0].index
    assert index.addresses == tuple(urls)
    assert index.ca_file == tmp_path / "yaml" / "ca.pem"
    with pytest.raises(Failure, match=r"write the certificates to a file"):
        rendered(tmp_path, spec.replace("path: ca.pem, ", ""))


def test_a_qdrant_key_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = (
        "spec: { index: { engine: Qdrant, qdrant: { url: 'http://q:6333', "
        "apiKeySecretRef: { name: a, key: b } } } }\n"
    )
    monkeypatch.delenv("LOOKALIKE_QDRANT_API_KEY", raising=False)
    with pytest.raises(Failure, match="set LOOKALIKE_QDRANT_API_KEY"):
        rendered(tmp_path, spec)
    monkeypatch.setenv("LOOKALIKE_QDRANT_API_KEY", "secret")
    made = rendered(tmp_path, spec)
    made.write(RunDirectory.of(tmp_path / "data"))
    file = made.serving.collections[0].index.api_key_file
    assert file is not None
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("secret", 0o600)


def test_a_collection_that_leaves_its_server_tells_what_stays_there(tmp_path: Path) -> None:
    def at(url: str) -> str:
        return f"spec: {{ index: {{ engine: Qdrant, qdrant: {{ url: '{url}' }} }} }}\n"

    first = rendered(tmp_path, at("http://q:6333"))
    first.write(RunDirectory.of(tmp_path / "data"))
    assert rendered(tmp_path, at("http://q:6333")).notices == ()
    for spec in (at("http://other:6333"), "spec: {}\n"):
        [told] = rendered(tmp_path, spec).notices
        assert "was stored on the Qdrant server http://q:6333 until now" in told


def test_a_collection_without_sources_has_nothing_to_ingest(tmp_path: Path) -> None:
    assert rendered(tmp_path, "spec: {}\n").ingestions == ()


def test_weights_beside_the_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml" / "w.safetensors").touch()
    spec = "spec: { model: { provider: OpenClip, name: RN50, weights: w.safetensors } }\n"
    model = rendered(tmp_path, spec).serving.collections[0].model
    assert model.weights == str(tmp_path / "yaml" / "w.safetensors")


def test_a_weights_tag_stays_a_tag(tmp_path: Path) -> None:
    spec = "spec: { model: { provider: OpenClip, name: RN50, weights: openai } }\n"
    assert rendered(tmp_path, spec).serving.collections[0].model.weights == "openai"


@pytest.mark.parametrize(
    ("host", "gateway"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::1", "http://[::1]:8123"),
    ],
)
def test_ingestion_writes_to_where_the_server_listens(
    tmp_path: Path, host: str, gateway: str
) -> None:
    spec = "spec: { sources: [{ name: s, volume: { path: p } }] }\n"
    assert rendered(tmp_path, spec, host=host).ingestions[0].gateway_url == gateway


def test_what_is_written_can_be_read_back(tmp_path: Path) -> None:
    made = rendered(tmp_path, "spec: { sources: [{ name: s, volume: { path: p } }] }\n")
    run = RunDirectory.of(tmp_path / "data")
    made.write(run)
    assert ServingConfig.model_validate_json(run.serving_config.read_bytes()) == made.serving
    (path,) = run.ingestion_configs().values()
    assert IngestionConfig.model_validate_json(path.read_bytes()) == made.ingestions[0]


def test_the_internal_token_is_kept_to_its_owner_and_through_restarts(tmp_path: Path) -> None:
    made = rendered(tmp_path, "spec: {}\n")
    run = RunDirectory.of(tmp_path / "data")
    made.write(run)
    token = run.internal_token.read_text()
    made.write(run)
    assert run.internal_token.read_text() == token
    assert len(token) >= 32
    assert stat.S_IMODE(run.internal_token.stat().st_mode) == 0o600


def test_ingestions_of_an_earlier_start_are_forgotten(tmp_path: Path) -> None:
    run = RunDirectory.of(tmp_path / "data")
    rendered(tmp_path, "spec: { sources: [{ name: s, volume: { path: p } }] }\n").write(run)
    rendered(tmp_path, "spec: {}\n").write(run)
    assert run.ingestion_configs() == {}


QDRANT = "spec: { index: { engine: Qdrant, qdrant: { url: 'http://q:6333' } } }\n"


def test_two_data_folders_have_two_indexes_on_one_server(tmp_path: Path) -> None:
    indexes = []
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        made = [rendered(tmp_path / folder, QDRANT).serving.collections[0].index for _ in range(2)]
        assert made[0] == made[1], "the same data folder, the same index"
        assert made[0].adopts is None
        indexes.append(made[0])
    assert indexes[0].name != indexes[1].name
    assert indexes[0].owner != indexes[1].owner


def test_a_data_folder_goes_on_with_the_index_that_it_had_by_the_earlier_name(
    tmp_path: Path,
) -> None:
    run = RunDirectory.of(tmp_path / "data")
    made = rendered(tmp_path, QDRANT)
    index = made.serving.collections[0].index
    assert index.owner is not None
    earlier = index_name("shoes", made.serving.collections[0].model)
    old = json.loads(made.serving.model_dump_json(by_alias=True))
    old["collections"][0]["index"] = {"engine": "Qdrant", "name": earlier, "url": index.url}
    run.serving_config.write_text(json.dumps(old))
    for _ in range(2):
        again = rendered(tmp_path, QDRANT)
        assert again.serving.collections[0].index.adopts == earlier
        again.write(run)


def started_again(folder: Path, *, known: dict[str, int], made: bool = True) -> Rendered:
    """The configuration of a server that starts with another model than the one before it."""
    before = rendered(folder, "spec: { model: { provider: Demo } }\n")
    run = RunDirectory.of(folder / "data")
    run.serving_config.write_text(before.serving.model_dump_json(by_alias=True))
    path = before.serving.collections[0].index.path
    assert path is not None
    if made:
        path.mkdir(parents=True)
        (path / MANIFEST).write_text("{}")
    remember(run.data_dir, known)
    timm = "spec: { model: { provider: Timm, name: resnet50.a1_in1k } }\n"
    return beside_former(rendered(folder, timm), run)


@pytest.mark.parametrize("counted", [None, 0, 7])
def test_a_former_index_answers_until_its_successor_is_filled_whatever_was_counted_in_it(
    tmp_path: Path, counted: int | None
) -> None:
    former = index_name("shoes", ModelSpec(provider=Provider.DEMO))
    made = started_again(tmp_path, known={} if counted is None else {former: counted})
    [answering], [filling] = made.serving.collections, made.serving.filling
    assert answering.index.name == former
    assert filling.model.provider is Provider.TIMM
    [run] = made.ingestions
    assert run.carry is not None
    assert run.carry.index == former


def test_a_former_index_that_was_never_made_is_not_waited_for(tmp_path: Path) -> None:
    made = started_again(tmp_path, known={}, made=False)
    assert made.serving.collections[0].model.provider is Provider.TIMM
    assert made.serving.filling == ()
