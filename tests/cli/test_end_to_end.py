"""The whole of it on this machine: `lookalike up` as a process, killed and started again.

The tests of this file go on from one another, in order, since each start takes a while.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support import commands
from tests.support.ports import free_port

from lookalike import Lookalike, LookalikeError
from lookalike_serving.demo.catalogue import render_catalogue
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import Phase, RunDirectory

pytestmark = [pytest.mark.ray, pytest.mark.slow]

IMAGES = 120
EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart.yaml"
PATIENCE_SECONDS = 480.0


@dataclass(frozen=True)
class Place:
    """A catalogue with its YAML, a data directory and a port."""

    folder: Path
    port: int

    @property
    def run(self) -> RunDirectory:
        return RunDirectory.of(self.folder / "data")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, *arguments: str) -> list[str]:
        return commands.lookalike(*arguments, "--data-dir", self.run.data_dir)

    def up(self, *arguments: str) -> list[str]:
        file = str(self.folder / "quickstart.yaml")
        return self.command("up", "-f", file, "--port", str(self.port), *arguments)

    def lookalike(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)

    def json(self, *arguments: str) -> Any:
        ran = self.lookalike(*arguments, "--output", "json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("machine")
    render_catalogue(folder / "catalogue", IMAGES, seed=5)
    # Small batches, so that there is a middle of the ingestion to be killed in.
    text = EXAMPLE.read_text().replace("  sources:", "  ingestion: { batchSize: 4 }\n  sources:")
    (folder / "quickstart.yaml").write_text(text)
    place = Place(folder, free_port())
    yield place
    subprocess.run(place.command("down"), capture_output=True, check=False)


def wait_for(what: str, condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, f"it ended before {what}"
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.01)


def documents(place: Place) -> int:
    """How many the server has; 0 where it does not answer yet."""
    try:
        with Lookalike(place.url, retries=0) as client:
            return client.collections.get("catalogue").documents or 0
    except LookalikeError:
        return 0


def test_everything_is_killed_in_the_middle_of_the_ingestion(place: Place) -> None:
    up = subprocess.Popen(place.up(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("a first image", lambda: documents(place) > 0, up)
    up.kill()
    victims = processes.of_run(place.run)
    assert len(victims) > 5
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
    up.wait()


def test_the_next_start_has_every_image_exactly_once(place: Place) -> None:
    ran = subprocess.run(
        place.up("--detach", "--wait"), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "lookalike search" in ran.stdout
    with Lookalike(place.url) as client:
        ids = sorted(document.document_id for document in client.documents.list("catalogue"))
        assert client.collections.get("catalogue").documents == IMAGES
    assert ids == [f"product-{i:06d}" for i in range(IMAGES)]
    counts = place.json("status")["ingestions"][0]["progress"]["sources"]["products"]
    assert counts["new"] > 0, "the ingestion was over before it could be killed"
    assert counts["unchanged"] > 0, "what was there before the kill was lost"


def test_words_find_something(place: Place) -> None:
    found = place.json("search", "red striped mug", "--top-k", "5")
    assert len(found["results"]) == 5
    scores = [result["score"] for result in found["results"]]
    assert scores == sorted(scores, reverse=True)


def test_a_picture_finds_itself_first(place: Place) -> None:
    picture = sorted((place.folder / "catalogue" / "images").iterdir())[7]
    found = place.json("search", "--image", str(picture), "--top-k", "3")
    assert found["results"][0]["document_id"] == "product-000007"
    assert found["results"][0]["score"] == pytest.approx(1.0, abs=0.01)


def test_filters_narrow_what_is_found(place: Place) -> None:
    found = place.json("search", "mug", "--filter", "status=active", "--filter", "price<60")
    for result in found["results"]:
        assert result["metadata"]["status"] == "active"
        assert result["metadata"]["price"] < 60


def test_a_grid_shows_the_pictures(place: Place) -> None:
    from PIL import Image

    grid = place.folder / "grid.png"
    ran = place.lookalike("search", "mug", "--top-k", "4", "--save-grid", str(grid))
    assert ran.returncode == 0, ran.stderr
    colours = Image.open(grid).convert("RGB").getcolors(1 << 24)
    assert len(colours or []) > 1000


def test_the_status_tells_of_server_counts_and_ingestion(place: Place) -> None:
    told = place.json("status")
    assert (told["phase"], told["url"]) == ("ready", place.url)
    assert told["collections"][0]["documents"] == IMAGES
    assert told["ingestions"][0]["progress"]["state"] == "COMPLETED"


def test_ingesting_again_skips_what_is_there(place: Place) -> None:
    (report,) = place.json("ingest")
    assert report["progress"]["sources"]["products"]["unchanged"] == IMAGES


def test_a_second_server_in_the_same_directory_is_refused(place: Place) -> None:
    ran = subprocess.run(place.up(), capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert f"at {place.url}" in ran.stderr


def test_a_second_server_on_the_same_port_is_refused_with_the_cause(place: Place) -> None:
    other = Place(place.folder / "other", place.port)
    other.folder.mkdir()
    (other.folder / "quickstart.yaml").write_bytes((place.folder / "quickstart.yaml").read_bytes())
    ran = subprocess.run(other.up("--no-ingest"), capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert f"cannot listen on 127.0.0.1:{place.port}" in ran.stderr
    assert processes.of_run(other.run) == []


class Asking(threading.Thread):
    """Searches again and again, from another thread; `failures` of all `answers`."""

    def __init__(self, place: Place) -> None:
        super().__init__(daemon=True)
        self._url = place.url
        self._end = threading.Event()
        self.answers, self.failures = 0, list[str]()

    def run(self) -> None:
        with Lookalike(self._url, retries=0) as client:
            while not self._end.is_set():
                try:
                    assert client.search("similarity-retriever", "red mug").results
                    self.answers += 1
                except Exception as failure:
                    self.failures.append(repr(failure))

    def __enter__(self) -> Asking:
        self.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._end.set()
        self.join()


CHANGED = """
---
apiVersion: lookalike.dev/v1alpha1
kind: ImageCollection
metadata: { name: few }
spec:
  model: { provider: Demo }
  sources: [{ name: drawn, volume: { path: ./few } }]
---
apiVersion: lookalike.dev/v1alpha1
kind: Retriever
metadata: { name: both }
spec: { collections: [{ name: catalogue }, { name: few }] }
"""


def changed(place: Place, text: str) -> str:
    file = place.folder / "changed.yaml"
    file.write_text(text)
    return str(file)


def test_changed_files_are_taken_over_while_searches_are_answered(place: Place) -> None:
    render_catalogue(place.folder / "few", 5, seed=9)
    before = (place.folder / "quickstart.yaml").read_text()
    wanted = before.replace("topK: 10", "topK: 3").replace("maker, type: Keyword", "x, type: Text")
    file = changed(place, wanted + CHANGED)
    server = place.run.read_state()
    with Asking(place) as asking:
        told = place.json("apply", "-f", file, "--wait")
    assert told["applied"]
    assert told["ingesting"] == ["catalogue", "few"], "its fields changed, and it is new"
    assert asking.answers > 0
    assert asking.failures == []
    after = place.run.read_state()
    assert server is not None
    assert after is not None
    assert after.pid == server.pid
    with Lookalike(place.url) as client:
        assert len(client.search("similarity-retriever", "red mug").results) == 3
        assert client.collections.get("few").documents == 5
        fields = {field.name for field in client.collections.get("catalogue").fields}
        assert "x" in fields
        assert "maker" not in fields
        assert client.search("both", "red mug").results
    assert place.json("apply", "-f", file)["steps"] == []


def test_what_would_be_lost_is_asked_for(place: Place) -> None:
    file = changed(place, (place.folder / "quickstart.yaml").read_text())
    ran = place.lookalike("apply", "-f", file)
    assert ran.returncode == 6
    assert "5 documents of collection few will no longer be found" in ran.stderr
    assert "few" in [each["name"] for each in place.json("get", "collections")]


def test_weights_that_turn_out_bad_leave_everything_as_it_was(place: Place) -> None:
    (place.folder / "few" / "bad.pt").write_bytes(b"no weights")
    bad = "{ provider: TorchScript, name: any, weights: ./few/bad.pt }"
    text = (place.folder / "changed.yaml").read_text() + CHANGED
    file = changed(place, text.replace("{ provider: Demo }", bad))
    ran = place.lookalike("apply", "-f", file, "--yes")
    assert ran.returncode == 1
    assert "bad.pt" in ran.stderr
    assert {each["documents"] for each in place.json("get", "collections")} == {5, IMAGES}


def test_a_collection_that_is_taken_out_stays_on_disk(place: Place) -> None:
    file = str(place.folder / "quickstart.yaml")
    assert place.json("apply", "-f", file, "--yes")["applied"]
    assert [each["name"] for each in place.json("get", "collections")] == ["catalogue"]
    for _ in range(20):
        [left] = place.json("gc")["left_behind"]
        if left["documents"] is not None:
            break
        time.sleep(1)  # open for the requests that were under way
    assert (left["collection"], left["documents"]) == ("few", 5)


def test_down_leaves_no_process(place: Place) -> None:
    assert place.json("down")["stopped"]
    # Although `apply` has talked to the replica before, in another event loop.
    assert not re.findall(r"not drained.*|.*different loop.*", place.run.server_log.read_text())
    assert processes.of_run(place.run) == []
    assert not place.run.ray_dir.exists()
    assert place.lookalike("status").returncode == 3


def test_a_server_in_the_foreground_ends_with_the_command_even_if_that_is_killed(
    place: Place,
) -> None:
    up = subprocess.Popen(
        place.up("--no-ingest"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def is_ready() -> bool:
        state = place.run.read_state()
        return state is not None and state.phase is Phase.READY

    wait_for("a ready server", is_ready, up)
    state = place.run.read_state()
    assert state is not None
    up.kill()
    up.wait()
    deadline = time.monotonic() + 240
    while processes.is_alive(state.pid, state.identity):
        assert time.monotonic() < deadline, "the server outlived its command"
        time.sleep(0.05)
    assert processes.of_run(place.run) == []
