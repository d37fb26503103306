"""`lookalike weights`, as the page about machines without internet access shows it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from tests.support.object_store import KEY, SECRET, S3Server, s3_server
from tests.support.oci_registry import oci_registry

PAGE = Path(__file__).parents[2] / "docs" / "air-gapped.md"
_HUB = "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_server() as server:
        server.bucket("models")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield server


def test_the_commands_of_the_page_copy_a_model_to_every_place(
    lookalike: Command, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # What the hub's client has fetched before; what is in the file does not matter to a copy.
    fetched = tmp_path / ".lookalike" / "weights" / _HUB
    (fetched / "refs").mkdir(parents=True)
    (fetched / "refs" / "main").write_text("c0ffee")
    (fetched / "snapshots" / "c0ffee").mkdir(parents=True)
    weights = fetched / "snapshots" / "c0ffee" / "open_clip_model.safetensors"
    weights.write_bytes(bytes(range(256)) * 40)
    commands = re.findall(r"^\$ lookalike (.*)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) == 4
    with oci_registry() as host:
        for command in commands:
            ran = lookalike(*shlex.split(command.replace("registry.example", host)))
            assert ran.code == 0, ran.err
            place = command.split()[-1].replace("registry.example", host)
            said = place if "://" in place else str(tmp_path / place)
            name = "model: { provider: OpenClip, name: ViT-B-32, weights: "
            assert ran.out.splitlines()[-1] == f"{name}{said} }}"
        again = lookalike("weights", "push", "./vit", "--to", "s3://models/vit", "-o", "json")
        assert (again.json["place"], again.json["written"]) == ("s3://models/vit/", 0)
    copy = tmp_path / "copy"
    assert (copy / "open_clip_model.safetensors").read_bytes() == weights.read_bytes()
    config = json.loads((copy / "open_clip_config.json").read_text())
    assert config["model_cfg"]["embed_dim"] == 512
    assert config["preprocess_cfg"]["mean"] == [0.48145466, 0.4578275, 0.40821073]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("pull", "--to", "x"), 2, "name one model, or one file with -f"),
        (("pull", "VITB", "--to", "x"), 2, "MODEL: there is no model 'VITB': write a name of"),
        (("pull", "Demo", "--to", "x"), 1, "there is nothing to copy"),
        (("push", ".", "--to", "x"), 2, "weights pull OpenClip:NAME:. --to x"),
        (("push", "./none", "--to", "x"), 2, "none does not exist: name a folder that"),
        (("push", "./file", "--to", "x"), 2, "file is a file: name a folder that"),
        (("push", "./empty", "--to", "x"), 2, "empty is empty: name a folder that"),
        (("pull", "./none", "--to", "x"), 2, "none does not exist: name a folder that"),
        (("pull", ".", "--to", "x"), 2, ". has no weights.json: name a folder that"),
        (("pull", "Demo", "--to", "./file/x"), 2, "file is a file: name a folder"),
    ],
)
def test_what_cannot_be_copied_says_what_to_do(
    lookalike: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    ran = lookalike("weights", *arguments)
    assert (ran.code, told in ran.err) == (code, True), ran.err
    assert not (tmp_path / "x").exists()
