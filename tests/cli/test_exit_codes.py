"""Each command ends with the exit code that the table of failures says."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from command import Command
from PIL import Image
from scripted_server import Reply, scripted

REFUSAL = Reply(status=404, body={"title": "Not found", "status": 404, "detail": "no such thing"})
NO_PICTURE = Reply(
    status=422,
    body={
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "image: no picture",
        "code": "image-not-an-image",
    },
)
NOT_READY = Reply(
    status=503, body={"title": "Unavailable", "status": 503, "detail": "it is starting"}
)
COLLECTION = (
    "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: { name: shoes }\n"
    "spec: { sources: [{ name: s, volume: { path: %s } }] }\n"
)


@pytest.fixture(autouse=True)
def _files(lookalike: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("kind: [")
    (tmp_path / "shoes.yaml").write_text(COLLECTION % "pictures")
    (tmp_path / "nowhere.yaml").write_text(COLLECTION % "nowhere")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (8, 8), "teal").save(pictures / "good.png")
    (pictures / "bad.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (0, "version"),
        (0, "--help"),
        (0, "validate -f shoes.yaml"),
        (0, "down"),
        (0, "demo-catalogue --out drawn --count 1"),
        (1, "validate -f broken.yaml"),
        (1, "validate -f missing.yaml"),
        (1, "up -f broken.yaml"),
        (1, "up -f nowhere.yaml"),
        (1, "gc"),
        (1, "init nowhere"),
        (1, "ingest --dry-run -f broken.yaml"),
        (1, "ingest --dry-run -f nowhere.yaml"),
        (1, "ingest --dry-run -f shoes.yaml -c others"),
        (1, "apply -f broken.yaml"),
        (1, "apply -f nowhere.yaml"),
        (1, "duplicates nowhere.png -c c --url {refusing}"),
        (1, "duplicates shoes.yaml -c c --url {no_picture}"),
        (1, "search --image nowhere.png --retriever r --url {refusing}"),
        (1, "search --image shoes.yaml --retriever r --url {no_picture}"),
        (2, "apply"),
        (3, "apply -f shoes.yaml"),
        (2, "delete"),
        (2, "delete --filter price"),
        (3, "delete -c c --url http://127.0.0.1:{closed}"),
        (4, "delete -c c --url {refusing}"),
        (2, "nonsense"),
        (2, "up"),
        (2, "up -f shoes.yaml --wait"),
        (2, "up -f shoes.yaml --port 0"),
        (2, "up -f shoes.yaml --host 0.0.0.0"),
        (2, "search"),
        (2, "search mug --top-k 0"),
        (2, "search mug --output yaml"),
        (2, "ingest --dry-run"),
        (2, "ingest -f shoes.yaml"),
        (2, "init"),
        (2, "validate"),
        (3, "search mug --url http://127.0.0.1:{closed}"),
        (3, "status --url http://127.0.0.1:{closed}"),
        (3, "get collections --url http://127.0.0.1:{closed}"),
        (3, "ingest"),
        (3, "search mug --retriever r --url {not_ready}"),
        (4, "search mug --retriever r --url {refusing}"),
        (4, "get documents x -c c --url {refusing}"),
        (5, "ingest --dry-run -f shoes.yaml"),
    ],
)
def test_a_command_ends_as_the_docs_say(lookalike: Command, code: int, command: str) -> None:
    with (
        socket.socket() as closed,
        scripted(REFUSAL) as refusing,
        scripted(*[NOT_READY] * 9) as not_ready,
        scripted(NO_PICTURE) as no_picture,
    ):
        closed.bind(("127.0.0.1", 0))
        arguments = command.format(
            closed=closed.getsockname()[1],
            refusing=refusing.url,
            not_ready=not_ready.url,
            no_picture=no_picture.url,
        )
        ran = lookalike(*arguments.split())
    assert ran.code == code, ran.out + ran.err
    assert "Traceback" not in ran.err
