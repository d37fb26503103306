"""The tutorial docs/photo-library.md: its example, from a folder to the deletion of duplicates."""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from tests.duplicates.pictures import edited, photograph
from tests.support.ports import free_port
from tests.support.servers import api_of, listening

from lookalike import Lookalike
from lookalike_cli.rendering import render
from lookalike_crds.config import HttpConfig
from lookalike_crds.load import load_files
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run
from lookalike_serving.machine.rundir import RunDirectory
from lookalike_serving.scans.pictures import Pictures

EXAMPLE = Path(__file__).parents[2] / "examples" / "photo-library.yaml"
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def library(folder: Path) -> None:
    """Four photographs, a file with the same pixels as one, and a smaller one of another."""
    for each in ("originals", "inbox"):
        (folder / each).mkdir(parents=True)
    for name in NAMES:
        Image.fromarray(photograph(name, 240)).save(folder / "originals" / f"{Path(name).stem}.png")
    Image.fromarray(photograph("chelsea.png", 240)).save(folder / "inbox" / "cat.bmp")
    small = edited(photograph("coffee.png", 240), "half")
    Image.fromarray(small).save(folder / "inbox" / "cup.png")


def test_from_a_folder_to_the_deletion_of_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path / "photos")
    shutil.copy(EXAMPLE, tmp_path)
    loaded = load_files([tmp_path / EXAMPLE.name], standalone=True)
    assert loaded.errors == ()
    directory = RunDirectory.of(tmp_path / "data")
    directory.internal_token.parent.mkdir(parents=True, exist_ok=True)
    directory.internal_token.write_text("token")
    port = free_port()
    rendered = render(loaded, directory, HttpConfig(port=port), None)
    [ingestion] = rendered.ingestions
    read: list[str] = []
    original = Pictures.picture

    async def noting(self: Pictures, document: object) -> object:
        read.append(document.document_id)  # type: ignore[attr-defined]
        return await original(self, document)  # type: ignore[arg-type]

    monkeypatch.setattr(Pictures, "picture", noting)
    monkeypatch.setattr("lookalike_serving.scans.runner._LOOK_SECONDS", 0.1)
    monkeypatch.setattr("lookalike_serving.scans.starting._START_WITHIN", timedelta(days=2))
    app = api_of(rendered.serving)
    with listening(app, port) as address, Lookalike(address) as client:
        assert ingestion.progress_file is not None
        with ProgressWriter(ingestion.progress_file, "library") as writer:
            asyncio.run(run(ingestion, writer))
        # As if the process had run since before the last time of the schedule.
        app.state.scans._since = datetime.now(UTC) - timedelta(days=2)
        app.state.scans.look()
        while not (scans := list(client.duplicate_scans.list("library"))):
            time.sleep(0.05)
        scan = client.duplicate_scans.wait("library", scans[0].scan_id)
        assert (scan.state, scan.documents, scan.groups, scan.unreadable) == ("COMPLETED", 6, 2, 0)
        assert scan.planned_for is not None
        assert scan.deleted is None
        groups = {
            group.keeper.document_id: [(each.document_id, each.verdict) for each in group.members]
            for group in client.duplicate_scans.groups("library", scan.scan_id)
        }
        assert groups == {
            "originals/chelsea.png": [("inbox/cat.bmp", "exact")],
            "originals/coffee.png": [("inbox/cup.png", "copy")],
        }
        assert scan.report_id is not None
        for dry_run in (True, False):
            done = client.duplicate_scans.apply(
                "library", scan.scan_id, scan.report_id, dry_run=dry_run, only=["inbox/cat.bmp"]
            )
            assert done.documents == ("inbox/cat.bmp",)
        assert client.collections.get("library").documents == 5
        [listed] = client.collections.list()
        assert listed.last_duplicate_scan is not None
        assert listed.last_duplicate_scan.documents == 2
        read.clear()
        keep = {"rule": "folders", "folders": ["originals/"]}
        again = client.duplicate_scans.create("library", keep=keep)
        again = client.duplicate_scans.wait("library", again.scan_id)
        assert (again.documents, again.unchanged, again.groups) == (5, 5, 1)
        assert read == []  # what has not changed is not read again
