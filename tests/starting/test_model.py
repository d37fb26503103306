"""Which model `init` proposes: what this machine can have."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from lookalike_serving.starting import model
from lookalike_serving.starting.model import CLIP, DEMO, LITE, model_at_hand


@pytest.mark.parametrize(
    ("clip", "lite", "chosen"), [(True, True, CLIP), (False, True, LITE), (False, False, DEMO)]
)
def test_the_best_that_can_be_had_is_chosen(
    tmp_path: Path, clip: bool, lite: bool, chosen: model.Choice
) -> None:
    assert model_at_hand(tmp_path, clip=lambda _: clip, lite=lambda: lite) is chosen


@pytest.fixture
def hub() -> Iterator[str]:
    """Answers everything with 200."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *ignored: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_hub_that_answers_offers_the_model_that_knows_words(
    tmp_path: Path, hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hub)
    assert model_at_hand(tmp_path) is CLIP
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert model_at_hand(tmp_path) is LITE


def test_a_hub_that_does_not_answer_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(model, "_SECONDS", 0.2)
    monkeypatch.setattr(model, "_answers", lambda: time.sleep(30))
    started = time.monotonic()
    assert model_at_hand(tmp_path) is LITE
    assert time.monotonic() - started < 10
