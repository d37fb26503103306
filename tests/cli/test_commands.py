"""What the commands that talk to a server ask, print and end with."""

from __future__ import annotations

import base64
import io
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command import Command
from PIL import Image
from scripted_server import Reply, scripted
from tests.support.run_states import READY

from lookalike_cli.launch import abilities, collections_of
from lookalike_serving.embed.arriving import Arriving
from lookalike_serving.machine.rundir import Phase, RunDirectory

RETRIEVERS = Reply(body={"items": [{"name": "shop"}], "next_cursor": None})
TWO_RETRIEVERS = Reply(body={"items": [{"name": "shop"}, {"name": "all"}], "next_cursor": None})
RESULT = {
    "document_id": "mug-1",
    "score": 0.91234,
    "metadata": {"kind": "mug", "price": 12.5, "tags": ["a"]},
    "collection": "c",
    "image_url": "/v1/collections/c/documents/mug-1/image",
}
RESULTS = Reply(body={"results": [RESULT], "took_ms": 3.2, "stages": [], "warnings": []})


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_search_prints_scores_ids_and_metadata(lookalike: Command) -> None:
    with scripted(RETRIEVERS, RESULTS) as server:
        ran = lookalike("search", "red", "mug", "--url", server.url)
        assert server.seen[1].path == "/v1/retrievers/shop/search"
        assert server.seen[1].json == {"queries": [{"type": "text", "value": "red mug"}]}
    assert ran.code == 0
    for shown in ("mug-1", "0.912", "kind", "12.5", '["a"]', "1 result in 3 ms"):
        assert shown in ran.out


COLLECTIONS = Reply(body={"items": [{"name": "photos"}], "next_cursor": None})
MATCH = {
    "document_id": "beach.jpg",
    "verdict": "copy",
    "confidence": 0.97,
    "evidence": {
        "content_hash": False,
        "inliers": 122,
        "agreement": 0.99,
        "region": {"query": [[0, 0], [1, 0], [1, 1], [0, 1]], "document": [[0, 0]] * 4},
        "transform": {"edits": ["crop", "mirror"], "crop": 0.5},
    },
    "metadata": {},
    "image_url": "/v1/collections/photos/documents/beach.jpg/image",
    "thumbnail_url": "/v1/collections/photos/documents/beach.jpg/thumbnail",
}
MATCHES = Reply(body={"matches": [MATCH], "took_ms": 5, "warnings": ["2 documents are old"]})


def test_duplicates_prints_verdicts_and_their_evidence(lookalike: Command, tmp_path: Path) -> None:
    (tmp_path / "f.png").write_bytes(png())
    with scripted(COLLECTIONS, MATCHES) as server:
        ran = lookalike("duplicates", "f.png", "--sensitivity", "strict", "--url", server.url)
        assert server.seen[1].path == "/v1/collections/photos/duplicates"
    assert ran.code == 0
    for shown in (
        "copy",
        "beach.jpg",
        "0.97",
        "crop, mirror",
        "99% of the blocks",
        "122 keypoints",
    ):
        assert shown in ran.out
    assert "2 documents are old" in ran.err


def test_duplicates_as_json_gives_the_whole_answer(lookalike: Command) -> None:
    with scripted(MATCHES) as server:
        arguments = ["https://example.com/a.jpg", "--collection", "photos", "--copies-only"]
        ran = lookalike("duplicates", *arguments, "--url", server.url, "--output", "json")
        assert server.seen[0].json == {
            "image": "https://example.com/a.jpg",
            "top_k": 10,
            "similar": False,
        }
    (match,) = ran.json["matches"]
    assert match["evidence"]["transform"]["crop"] == 0.5


def test_search_as_json_gives_the_whole_answer(lookalike: Command) -> None:
    with scripted(RETRIEVERS, RESULTS) as server:
        ran = lookalike("search", "mug", "--url", server.url, "--output", "json")
        (result,) = ran.json["results"]
        assert result["image_url"] == f"{server.url}/v1/collections/c/documents/mug-1/image"
    assert (result["score"], result["metadata"]["price"]) == (0.91234, 12.5)


def test_words_pictures_and_documents_go_in_one_search(lookalike: Command, tmp_path: Path) -> None:
    (tmp_path / "f.png").write_bytes(png())
    with scripted(RESULTS) as server:
        arguments = ["in blue", "--image", "f.png", "--image", "https://example.com/a.jpg"]
        arguments += ["--document", "mug-7", "--filter", "status=active", "--filter", "price<20"]
        arguments += ["--min-score", "0.5", "--top-k", "3", "--retriever", "shop"]
        lookalike("search", *arguments, "--url", server.url)
        asked = server.seen[0].json
    text, file, address, document = asked.pop("queries")
    assert text == {"type": "text", "value": "in blue"}
    assert base64.b64decode(file["value"].partition(",")[2]) == png()
    assert address == {"type": "image", "value": "https://example.com/a.jpg"}
    assert document == {"type": "document", "value": "mug-7"}
    assert asked == {
        "filters": {
            "AND": [
                {"key": "status", "operator": "eq", "value": "active"},
                {"key": "price", "operator": "lt", "value": 20},
            ]
        },
        "top_k": 3,
        "min_score": 0.5,
    }


def test_search_for_nothing_is_wrong_usage(lookalike: Command) -> None:
    ran = lookalike("search")
    assert ran.code == 2
    assert "nothing to search for" in ran.err


def test_among_several_retrievers_one_must_be_named(lookalike: Command) -> None:
    with scripted(TWO_RETRIEVERS) as server:
        ran = lookalike("search", "mug", "--url", server.url)
    assert ran.code == 2
    assert "choose one with --retriever: all, shop" in ran.err


def test_finding_nothing_is_said_and_no_error(lookalike: Command) -> None:
    with scripted(RETRIEVERS, Reply(body={"results": []})) as server:
        ran = lookalike("search", "mug", "--url", server.url)
    assert (ran.code, ran.out) == (0, "Nothing found.\n")


def test_warnings_of_the_server_go_to_stderr(lookalike: Command) -> None:
    answer = Reply(body={"results": [RESULT], "warnings": ["field 'size' has no index [x]"]})
    with scripted(RETRIEVERS, answer) as server:
        ran = lookalike("search", "mug", "--url", server.url)
    assert "field 'size' has no index [x]" in ran.err
    assert "size" not in ran.out


def test_what_looks_like_markup_in_metadata_is_shown_as_it_is(lookalike: Command) -> None:
    odd = {"document_id": "[red]x[/red]", "score": 1, "metadata": {"title": "[bold]loud"}}
    with scripted(RETRIEVERS, Reply(body={"results": [odd]})) as server:
        ran = lookalike("search", "mug", "--url", server.url)
    assert "[red]x[/red]" in ran.out
    assert "[bold]loud" in ran.out


def test_a_grid_of_the_results_is_drawn(lookalike: Command, tmp_path: Path) -> None:
    found = Reply(body={"results": [RESULT, RESULT | {"document_id": "x" * 300}]})
    picture = Reply(raw=png("blue"), headers={"Content-Type": "image/png"})
    with scripted(RETRIEVERS, found, picture) as server:
        ran = lookalike("search", "mug", "--url", server.url, "--save-grid", "grid.png")
    assert ran.code == 0
    grid = Image.open(tmp_path / "grid.png").convert("RGB")
    assert grid.width > 2 * 224
    assert (0, 0, 255) in {colour for _, colour in grid.getcolors(1 << 20)}


def test_a_result_without_a_picture_does_not_spoil_the_grid(
    lookalike: Command, tmp_path: Path
) -> None:
    with scripted(RETRIEVERS, RESULTS, Reply(404, {"detail": "gone"})) as server:
        ran = lookalike("search", "mug", "--url", server.url, "--save-grid", "grid.png")
    assert ran.code == 0
    assert (tmp_path / "grid.png").exists()


def test_a_grid_needs_the_name_of_an_image_file(lookalike: Command) -> None:
    with scripted(RETRIEVERS, RESULTS) as server:
        ran = lookalike("search", "mug", "--url", server.url, "--save-grid", "grid.xyz")
    assert ran.code == 1
    assert "such as grid.png" in ran.err


def test_no_server_is_one_line_and_exit_code_3(lookalike: Command) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    ran = lookalike("search", "mug", "--retriever", "shop", "--url", url)
    assert ran.code == 3
    assert ran.err.startswith(f"error: cannot connect to {url}")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (Reply(401, {"detail": "This service needs an API key."}), 4, "needs an API key"),
        (Reply(404, {"detail": "There is no retriever 'shop'."}), 4, "no retriever 'shop'"),
        (Reply(500, {"detail": "Something broke."}), 4, "Something broke"),
        (Reply(raw=b"<html>hello</html>"), 4, "no Lookalike answer"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(
    lookalike: Command, reply: Reply, code: int, said: str
) -> None:
    with scripted(reply) as server:
        ran = lookalike("search", "mug", "--retriever", "shop", "--url", server.url)
    assert ran.code == code
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_every_wrong_part_of_a_request_is_told(lookalike: Command) -> None:
    errors: list[dict[str, Any]] = [
        {"path": "filters.price", "message": "is odd"},
        {"path": "top_k", "message": "is too large"},
    ]
    problem = Reply(422, {"detail": "filters.price: is odd (and 1 more)", "errors": errors})
    with scripted(problem) as server:
        ran = lookalike("search", "mug", "--retriever", "shop", "--url", server.url)
    assert "filters.price: is odd" in ran.err
    assert "top_k: is too large" in ran.err


def test_a_picture_that_is_not_there_is_told(lookalike: Command) -> None:
    with scripted(RETRIEVERS) as server:
        ran = lookalike("search", "--image", "nope.jpg", "--url", server.url)
    assert ran.code == 1
    assert "'nope.jpg' is no file here" in ran.err


def test_a_traceback_is_shown_when_asked_for(
    lookalike: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_DEBUG", "1")
    with scripted(RETRIEVERS) as server, pytest.raises(FileNotFoundError):
        lookalike("search", "--image", "nope.jpg", "--url", server.url)


def test_the_api_key_of_the_environment_is_sent(
    lookalike: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_API_KEY", "secret")
    with scripted(RETRIEVERS) as server:
        monkeypatch.setenv("LOOKALIKE_URL", server.url)
        ran = lookalike("get", "retrievers", "-o", "json")
        assert server.seen[0].headers["authorization"] == "Bearer secret"
    assert [each["name"] for each in ran.json] == ["shop"]


def test_documents_are_listed_up_to_the_limit(lookalike: Command) -> None:
    collections = Reply(body={"items": [{"name": "c"}], "next_cursor": None})
    page = Reply(body={"items": [{"document_id": f"d{i}"} for i in (1, 2)], "next_cursor": "n"})
    with scripted(collections, page) as server:
        ran = lookalike("get", "documents", "--limit", 3, "-o", "json", "--url", server.url)
    assert [each["document_id"] for each in ran.json] == ["d1", "d2", "d1"]


def test_one_document_is_shown_whole(lookalike: Command) -> None:
    with scripted(Reply(body={"document_id": "a/b", "width": 3})) as server:
        ran = lookalike("get", "documents", "a/b", "-c", "c", "--url", server.url)
        assert server.seen[0].path == "/v1/collections/c/documents/a%2Fb"
    assert ran.json["width"] == 3


def test_status_tells_of_a_server_that_is_not_ready(lookalike: Command) -> None:
    loading = Reply(503, {"detail": "0 of 1 parts answer; the model is loading"})
    collections = Reply(body={"items": [{"name": "c", "documents": 7}], "next_cursor": None})
    with scripted(Reply(body={}), loading, collections) as server:
        ran = lookalike("status", "--url", server.url)
    assert ran.code == 3
    assert "not ready" in ran.out
    assert "the model is loading" in ran.out


def test_status_tells_of_weights_that_a_starting_server_downloads(
    lookalike: Command, tmp_path: Path
) -> None:
    run = RunDirectory.of(tmp_path / "data")
    run.make_private()
    nothing = Reply(500, raw=b"Internal Server Error")
    with scripted(nothing, nothing, nothing) as server, run.lock():
        run.write_state(replace(READY, phase=Phase.STARTING, url=server.url))
        (run.data_dir / "weights").mkdir()
        Arriving(run.data_dir / "weights" / "vit.pt", 605_000_000, 312_000_000)
        ran = lookalike("status", "--data-dir", run.data_dir)
    assert ran.code == 3
    assert "starting" in ran.out
    assert "Downloading 312 of 605 MB of a model's weights" in ran.out


def test_status_of_a_ready_server_as_json(lookalike: Command) -> None:
    collections = Reply(body={"items": [{"name": "c", "documents": 7}], "next_cursor": None})
    with scripted(Reply(body={}), Reply(body={}), collections) as server:
        ran = lookalike("status", "--url", server.url, "-o", "json")
    assert ran.code == 0
    assert ran.json["phase"] == "ready"
    assert ran.json["collections"][0]["documents"] == 7


def test_down_where_nothing_runs_is_fine(lookalike: Command, tmp_path: Path) -> None:
    ran = lookalike("down", "--data-dir", tmp_path / "data")
    assert ran.code == 0
    assert "Nothing is running" in ran.out
    assert not (tmp_path / "data").exists()


def test_ingest_without_a_server_says_how_to_start_one(lookalike: Command) -> None:
    ran = lookalike("ingest")
    assert ran.code == 3
    assert "lookalike up -f FILE" in ran.err


def test_an_unknown_option_is_wrong_usage(lookalike: Command) -> None:
    assert lookalike("search", "mug", "--topk", "3").code == 2


@pytest.mark.parametrize(
    "name", ["up", "search", "status", "get", "ingest", "down", "validate", "demo-catalogue"]
)
def test_every_command_explains_itself_with_an_example(lookalike: Command, name: str) -> None:
    ran = lookalike(name, "--help")
    assert ran.code == 0
    assert f"lookalike {name}" in ran.out


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['lookalike', '--help']\n"
        "from lookalike_cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'httpx', 'pydantic', 'numpy', 'PIL', 'yaml', 'ray', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['lookalike', 'version']\nfrom lookalike_cli import main; main()"
    )
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    ran = subprocess.run(
        [sys.executable, "-c", script], stdout=reader.stdin, stderr=subprocess.PIPE, check=False
    )
    assert b"Traceback" not in ran.stderr


def test_the_version_is_printed(lookalike: Command) -> None:
    ran = lookalike("version", "-o", "json")
    assert ran.json["lookalike"] == "0.1.0"


def test_a_catalogue_is_drawn(lookalike: Command, tmp_path: Path) -> None:
    ran = lookalike("demo-catalogue", "--out", "shop", "--count", 2, "-o", "json")
    assert ran.json["pictures"] == 2
    assert len((tmp_path / "shop/catalogue.jsonl").read_text().splitlines()) == 2


def test_status_tells_what_to_know_of_a_collection(lookalike: Command) -> None:
    warning = "field price is Integer and was Float: 64 documents hold values that are no Integer"
    shop = {"name": "shop", "documents": 64, "model": "demo", "warnings": [warning]}
    health = Reply(body={"status": "ready"})
    listed = Reply(body={"items": [shop], "next_cursor": None})
    with scripted(health, health, listed) as server:
        ran = lookalike("status", "--url", server.url)
        assert any(each.path.startswith("/v1/collections") for each in server.seen)
    assert f"shop: {warning}" in ran.out


def test_up_tells_what_to_know_of_a_collection(tmp_path: Path) -> None:
    shop = {"name": "shop", "warnings": ["field price is Integer and was Float"], "model": "resnet"}
    shop["model_ability"] = "finds similar photographs; knows no words"
    keys = tmp_path / "keys"
    keys.write_text("# ours\nsecret\n")
    with scripted(Reply(body={"items": [shop], "next_cursor": None}), Reply(503)) as server:
        (told,) = collections_of(server.url, keys)
        assert told.warnings == ("field price is Integer and was Float",)
        assert abilities([told]) == [
            "shop: the model resnet finds similar photographs; knows no words"
        ]
        assert server.seen[0].headers["authorization"] == "Bearer secret"
        assert collections_of(server.url, None) == []


LOADED = Reply(
    body={
        "items": [
            {
                "name": "demo-clip",
                "provider": "Demo",
                "dimension": 128,
                "device": "cpu",
                "precision": "FP32",
                "ability": "knows the demo catalogue only",
                "collections": ["shop"],
            }
        ],
        "next_cursor": None,
    }
)


def test_models_shows_what_is_loaded_and_what_is_worth_knowing(lookalike: Command) -> None:
    with scripted(LOADED) as server:
        ran = lookalike("models", "--url", server.url)
        assert [each.path for each in server.seen] == ["/v1/models"]
    assert ran.code == 0
    for shown in ("demo-clip", "knows the demo catalogue only", "ViT-B-16-SigLIP2", "Apache-2.0"):
        assert shown in ran.out


def test_models_without_a_server_shows_what_is_worth_knowing(lookalike: Command) -> None:
    ran = lookalike("models", "-o", "json")
    assert ran.code == 0
    assert ran.json["loaded"] is None
    (clip,) = [each for each in ran.json["known"] if each.get("name") == "ViT-B-32"]
    assert (clip["dimension"], clip["licence"], clip["zero_shot"]) == (512, "MIT", 66.6)


def test_models_shows_one_in_full_with_its_yaml(lookalike: Command) -> None:
    ran = lookalike("models", "resnet50")
    assert ran.code == 0
    assert "model: { provider: Timm, name: resnet50.a1_in1k }" in ran.out
    assert "none: pictures are found by pictures alone" in ran.out
    assert ran.out.splitlines()[1].split()[0] == "use"
    ran = lookalike("models", "nothing")
    assert ran.code == 2
    assert "no model 'nothing' in the list: Demo, tf_efficientnet_lite0" in ran.err


@pytest.mark.parametrize(
    ("name", "languages"),
    [("Demo", "(measured)"), ("nllb-clip-base-siglip", "(as published; not measured here)")],
)
def test_models_says_whether_languages_are_measured(
    lookalike: Command, name: str, languages: str
) -> None:
    assert languages in " ".join(lookalike("models", name).out.split())
