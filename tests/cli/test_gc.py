"""`lookalike gc`: what nothing uses is listed, and dropped when told to."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
from command import Command

from lookalike_cli.rendering import render
from lookalike_crds.config import HttpConfig
from lookalike_crds.image_collection import VectorSpec
from lookalike_crds.load import load_files
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.protocol import Point
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import Phase, RunDirectory, State

DEMO = "spec: {}\n"
VIT = "spec: { model: { provider: OpenClip, name: ViT-B-32, weights: openai } }\n"
HEAD = "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: { name: shop }\n"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.of(tmp_path / "data")
    run.make_private()
    return run


def configured(run: RunDirectory, spec: str) -> Path:
    """What `up` writes down of a file; returns the folder of its index."""
    file = run.data_dir.parent / "shop.yaml"
    file.write_text(HEAD + spec)
    made = render(load_files([file], standalone=True), run, HttpConfig(), None)
    made.write(run)
    path = made.serving.collections[0].index.path
    assert path is not None
    return path


def fill(folder: Path, run: RunDirectory, documents: int = 2) -> None:
    """An index with that many uploads."""

    async def filled() -> None:
        owner = IndexOwner(cluster=run.data_id(), name="shop")
        index = await EdgeIndex.open(
            folder, vector=VectorSpec(), dimension=4, fingerprint="f", owner=owner, model="Demo"
        )
        vectors = np.eye(4, dtype=np.float32)
        await index.upsert(
            [
                Point(point_id("shop", str(i)), vectors[i], payload({}, Origin(str(i), "upload:x")))
                for i in range(documents)
            ]
        )
        await index.close()

    asyncio.run(filled())


def test_what_an_earlier_model_left_is_listed_and_dropped_when_told_to(
    lookalike: Command, run: RunDirectory
) -> None:
    earlier = configured(run, DEMO)
    fill(earlier, run)
    fill(configured(run, VIT), run)
    here = ("--data-dir", run.data_dir)

    listed = lookalike("gc", *here)
    assert listed.code == 0
    [row] = [line for line in listed.out.splitlines() if earlier.name in line]
    assert row.split()[1:5] == ["shop", "Demo", "2", "2"]
    assert f"lookalike gc --data-dir {run.data_dir} --drop INDEX" in listed.out
    assert earlier.exists()

    refused = lookalike("gc", "--drop", earlier.name, *here)
    assert refused.code == 1
    assert "2 documents that no source" in refused.err
    assert "--yes" in refused.err
    assert earlier.exists()

    dropped = lookalike("gc", "--drop", earlier.name, "--yes", "--output", "json", *here)
    assert (dropped.code, dropped.json) == (0, {"left_behind": [], "dropped": [earlier.name]})
    assert not earlier.exists()
    assert "There are no unused indexes." in lookalike("gc", *here).out


def test_the_index_in_use_is_never_dropped(lookalike: Command, run: RunDirectory) -> None:
    live = configured(run, DEMO)
    fill(live, run)
    for name in (live.name, "batches"):
        ran = lookalike("gc", "--drop", name, "--yes", "--data-dir", run.data_dir)
        assert ran.code == 1
        assert f"index {name} is in use by" in ran.err
    assert (live / "lookalike.json").exists()


def test_a_name_that_is_not_left_behind_is_told_with_those_that_are(
    lookalike: Command, run: RunDirectory
) -> None:
    earlier = configured(run, DEMO)
    fill(earlier, run)
    configured(run, VIT)
    ran = lookalike("gc", "--drop", "nope", "--data-dir", run.data_dir)
    assert ran.code == 1
    assert f"there is no unused index 'nope' here (there are: {earlier.name})" in ran.err


def test_without_a_configuration_nobody_knows_what_is_in_use(
    lookalike: Command, run: RunDirectory
) -> None:
    fill(run.data_dir / "indexes" / "shop-00000000", run)
    ran = lookalike("gc", "--drop", "shop-00000000", "--yes", "--data-dir", run.data_dir)
    assert ran.code == 1
    assert "lookalike up -f FILE" in ran.err
    assert (run.data_dir / "indexes" / "shop-00000000").exists()


def test_yes_without_drop_is_wrong_usage(lookalike: Command, run: RunDirectory) -> None:
    assert lookalike("gc", "--yes", "--data-dir", run.data_dir).code == 2


def test_the_status_mentions_what_is_left_behind(lookalike: Command, run: RunDirectory) -> None:
    pid = os.getpid()
    state = State(
        pid, processes.identity(pid) or "", Phase.READY, "http://127.0.0.1:9", "2026-01-01", ""
    )
    earlier = configured(run, DEMO)
    run.write_state(state)
    assert "left behind" not in lookalike("status", "--data-dir", run.data_dir).out
    fill(earlier, run)
    configured(run, VIT)
    told = lookalike("status", "--data-dir", run.data_dir).out
    assert "1 index is unused (" in told
    assert f"`lookalike gc --data-dir {run.data_dir}` lists them" in told


def test_a_pods_configuration_says_what_is_in_use_there(
    lookalike: Command, run: RunDirectory, tmp_path: Path
) -> None:
    earlier = configured(run, DEMO)
    fill(earlier, run)
    live = configured(run, VIT)
    fill(live, run)
    file = run.serving_config.rename(tmp_path / "serving.json")
    listed = lookalike("gc", "--config", file)
    assert earlier.name in listed.out
    assert live.name not in listed.out
    assert f"lookalike gc --config {file} --drop INDEX" in listed.out
    assert lookalike("gc", "--config", file, "--drop", earlier.name, "--yes").code == 0
    assert not earlier.exists()
    assert live.exists()
