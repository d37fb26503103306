"""Whole models, copied to a folder, a bucket and a registry, and loaded from there."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.object_store import KEY, SECRET, S3Server, s3_server
from tests.support.oci_registry import oci_registry

from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_serving.embed import load_embedder
from lookalike_serving.embed.fetching import Damaged
from lookalike_serving.embed.places import oci
from lookalike_serving.embed.places.address import place
from lookalike_serving.embed.places.at_hand import bring
from lookalike_serving.embed.places.copying import copy_model, copy_place, is_place
from lookalike_serving.embed.places.manifest import NAME, WeightsFile
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound, WeightsUnreachable
from lookalike_serving.embed.registry import check_model


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(**{"provider": Provider.OPEN_CLIP, "precision": Precision.FP32, **fields})


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        server.bucket("models")
        yield server


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with oci_registry() as host:
        yield host


@pytest.fixture(autouse=True)
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return monkeypatch


@pytest.fixture(scope="module")
def pulled(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights, as a folder."""
    folder = tmp_path_factory.mktemp("pulled") / "tiny"
    cache = tmp_path_factory.mktemp("cache-of-pull")
    copy_model(spec(name="tiny", weights=str(tiny_weights)), cache, str(folder))
    return folder


def _embedded(model: ModelSpec, cache_dir: Path) -> tuple[str, Any]:
    embedder = load_embedder(model, cache_dir)
    pixels = embedder.preprocess(np.full((80, 90, 3), 90, np.uint8))
    return embedder.info.fingerprint, embedder.embed_pixels([pixels])


def test_a_model_gives_the_same_vectors_from_every_place(
    tiny_weights: Path, pulled: Path, registry: str, tmp_path: Path
) -> None:
    manifest = json.loads((pulled / NAME).read_text())
    assert [each["path"] for each in manifest["files"]] == [
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
    places = [str(pulled), "s3://models/tiny/", f"oci://{registry}/models/tiny:1"]
    for source, to in pairwise(places):
        assert copy_place(source, tmp_path / "cache", to).written > 0
        assert copy_place(source, tmp_path / "cache", to).written == 0
    expected = _embedded(spec(name="tiny", weights=str(tiny_weights)), tmp_path / "file")
    for number, said in enumerate(places):
        found = _embedded(spec(name="tiny", weights=said), tmp_path / f"cache-{number}")
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])
    # The name is kept beside the files.
    assert _embedded(spec(weights=places[-1]), tmp_path / "cache-2")[0] == expected[0]
    assert load_embedder(spec(weights=places[-1]), tmp_path / "cache-2").info.weights == places[-1]


def test_what_was_fetched_is_kept_though_the_place_is_gone(
    pulled: Path, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    copy_place(str(pulled), tmp_path, "s3://models/kept/")
    model = spec(name="tiny", weights="s3://models/kept/")
    first = _embedded(model, tmp_path)[0]
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert _embedded(model, tmp_path)[0] == first


def test_a_cut_copy_is_continued(s3: S3Server, pulled: Path, tmp_path: Path) -> None:
    to = tmp_path / "again"
    done = copy_place(str(pulled), tmp_path, "s3://models/cut/")
    (config, weights) = done.manifest.files
    s3.client.delete_object(Bucket="models", Key=f"cut/{NAME}")
    s3.put("models", f"cut/{weights.path}", b"half")
    with pytest.raises(WeightsNotFound, match=f"s3://models/cut/ holds no {NAME}"):
        asyncio.run(bring(place("s3://models/cut/"), to))
    assert copy_place(str(pulled), tmp_path, "s3://models/cut").written == weights.bytes
    to.mkdir()
    (to / config.path).write_bytes((pulled / config.path).read_bytes())
    assert copy_place("s3://models/cut/", tmp_path, str(to)).written == weights.bytes
    assert is_place(str(to))


def test_what_was_changed_is_not_copied_and_not_loaded(
    s3: S3Server, pulled: Path, registry: str, tmp_path: Path
) -> None:
    copy_place(str(pulled), tmp_path, str(tmp_path / "folder"))
    weights = tmp_path / "folder" / "open_clip_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    for to in ("s3://models/damaged/", f"oci://{registry}/damaged"):
        with pytest.raises(Damaged, match="pull it again"):
            copy_place(str(tmp_path / "folder"), tmp_path, to)
    copy_place(str(pulled), tmp_path, "s3://models/changed/")
    s3.put("models", "changed/open_clip_model.safetensors", bytes(data))
    with pytest.raises(WeightsUnreachable, match="was announced"):
        load_embedder(spec(weights="s3://models/changed/"), tmp_path)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("oci://{registry}/none:1", "there is no artifact oci://.*push FOLDER --to oci://"),
        ("oci://models/vit:1", "names no registry: write oci://registry.example/models/vit:1"),
        ("oci://{registry}/", "names no artifact"),
        ("oci://localhost:9/vit:1", "the registry cannot be reached"),
        ("s3://models/none/", "holds no weights.json.*push FOLDER --to s3://models/none/"),
        ("s3://no-such-bucket-here/vit/", "correct the bucket|no bucket|does not exist"),
        ("az://models/vit/", "az://models@account/vit/"),
    ],
)
def test_a_place_that_cannot_be_read_says_what_to_do(
    registry: str, tmp_path: Path, said: str, told: str
) -> None:
    model = spec(name="tiny", weights=said.format(registry=registry))
    check_model(model)  # before anything starts, no place is asked
    with pytest.raises(ModelError, match=told):
        load_embedder(model, tmp_path)


def test_a_place_of_another_provider_is_refused(pulled: Path, tmp_path: Path) -> None:
    copy_place(str(pulled), tmp_path, "s3://models/clip/")
    model = ModelSpec(provider=Provider.ONNX, weights="s3://models/clip/")
    with pytest.raises(ModelError, match=r"holds a model of provider OpenClip, and .* is Onnx"):
        load_embedder(model, tmp_path)


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../b", "", "a//b", "weights.json"])
def test_a_manifest_writes_only_below_its_folder(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        WeightsFile(path=path, bytes=1, sha256="0" * 64)


def test_a_model_without_files_of_its_own_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="comes with Lookalike: there is nothing to copy"):
        copy_model(ModelSpec(), tmp_path, str(tmp_path / "to"))


def test_a_registry_that_refuses_asks_for_a_login(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    def answer(*args: Any, **options: Any) -> Any:
        made = oci.requests.Response()
        made.status_code = 401
        made.headers["Www-Authenticate"] = 'Basic realm="models"'
        return made

    environment.setenv("DOCKER_CONFIG", str(tmp_path))
    environment.setattr(oci.requests, "get", answer)
    environment.setattr(oci.requests.Session, "request", answer)
    with pytest.raises(WeightsNotFound, match="docker login localhost:5000"):
        asyncio.run(place("oci://localhost:5000/vit").manifest())
    login = {"auths": {"localhost:5000": {"auth": "bWU6aXQ="}}}
    (tmp_path / "config.json").write_text(json.dumps(login))
    sent: list[Any] = []

    def noting(*args: Any, **options: Any) -> Any:
        sent.append(options["headers"].get("Authorization"))
        return answer()

    environment.setattr(oci.requests.Session, "request", noting)
    with pytest.raises(WeightsNotFound, match="docker login localhost:5000"):
        asyncio.run(place("oci://localhost:5000/vit").manifest())
    assert "Basic bWU6aXQ=" in sent


def test_a_registry_without_ranges_is_read_nonetheless(
    pulled: Path, registry: str, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    copy_place(str(pulled), tmp_path, f"oci://{registry}/whole:1")
    real = oci.requests.Session.request

    def without(self: Any, *args: Any, **options: Any) -> Any:
        headers = {k: v for k, v in (options.pop("headers", None) or {}).items() if k != "Range"}
        return real(self, *args, headers=headers, **options)

    environment.setattr(oci.requests.Session, "request", without)
    weights = (pulled / "open_clip_model.safetensors").read_bytes()
    digest = f"sha256:{hashlib.sha256(weights).hexdigest()}"
    artifact = oci.Artifact(f"oci://{registry}/whole:1")
    assert artifact._read(digest, 0, 70) == weights[:70]
    assert artifact._read(digest, 1_100_000, 700) == weights[1_100_000:1_100_700]
