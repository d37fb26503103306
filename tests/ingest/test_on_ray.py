"""`ingestion.runtime: Ray` on three nodes of one machine, one of which dies in the middle."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from tests.ingest.conftest import Place

from lookalike_crds.failures import RunExit
from lookalike_crds.progress import RunState
from lookalike_serving.documents.ids import point_id
from lookalike_serving.ingest.on_ray.joining import RayUnavailable, join
from lookalike_serving.ingest.partition import WHOLE
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run
from lookalike_serving.ingest.store import open_remote

IMAGES = 270
SECONDS = 120


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, object]]:
    """(address of a cluster, the function that kills one of its nodes): a head without CPUs, and
    two nodes with one each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_enable_worker_prestart", "0")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100 * 1024 * 1024}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small}
    )
    try:
        workers = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
        cluster.wait_for_nodes()
        yield cluster.address, lambda: cluster.remove_node(workers[1], allow_graceful=False)
    finally:
        cluster.shutdown()


def source(place: Place, prefix: str) -> dict[str, object]:
    return {
        "name": prefix.strip("/"),
        "idPrefix": prefix,
        "volume": {"path": str(place.images)},
    }


def vectors(place: Place, ids: list[str]) -> np.ndarray:
    async def read() -> np.ndarray:
        store = open_remote(place.config())
        try:
            points = [point_id("shop", each) for each in ids]
            found = {r.id: r.vector for r in await store.retrieve(points, with_vector=True)}
            return np.stack([found[each] for each in points])
        finally:
            await store.close()

    return asyncio.run(read())


@pytest.mark.ray
@pytest.mark.slow
def test_other_nodes_take_up_what_a_lost_node_had(place, paint, nodes) -> None:
    address, kill_one = nodes
    names = [f"{i:04d}.png" for i in range(IMAGES)]
    for i, name in enumerate(names):
        paint(place.images / name, i)
    (place.images / "broken.png").write_bytes(b"broken")
    file = place.folder / "config.json"
    ray = {"embedders": {"minReplicas": 2, "maxReplicas": 2}}
    config = place.config(source(place, "ray/"), runtime="Ray", batchSize=8, ray=ray)
    file.write_text(config.model_copy(update={"ray_address": address}).model_dump_json())
    place.door.close_after(6)
    child = subprocess.Popen(
        [sys.executable, "-m", "lookalike_serving.ingest", "--config", str(file)],
        stderr=subprocess.PIPE,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    try:
        deadline = time.monotonic() + SECONDS
        while len(place.documents()) < 40:
            assert child.poll() is None, child.communicate()[1].decode()
            assert time.monotonic() < deadline, "no images in time"
            time.sleep(0.1)
        kill_one()
        place.door.open()
        _, errors = child.communicate(timeout=SECONDS)
    finally:
        child.kill()

    total = place.progress().total
    assert child.returncode == RunExit.WITH_ERRORS, errors.decode()
    assert place.progress().state is RunState.COMPLETED_WITH_ERRORS
    assert (total.listed, total.new, total.failed) == (IMAGES + 1, IMAGES, 1)
    assert set(place.documents()) == {f"ray/{name}" for name in names}

    as_job = place.config(source(place, "job/"))
    with ProgressWriter(as_job.progress_file, "shop") as writer:
        asyncio.run(run(as_job, writer, WHOLE))
    some = names[::20]
    ours, jobs = (vectors(place, [f"{of}/{name}" for name in some]) for of in ("ray", "job"))
    np.testing.assert_allclose(ours, jobs, atol=1e-6)


def test_a_run_without_an_address_joins_no_cluster_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    joined: list[object] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda address=None, **_: joined.append(address))
    join(None)
    assert joined == ["local"]


@pytest.mark.parametrize(
    ("address", "told"),
    [("ray://head:10001", "write host:port"), ("127.0.0.1:1", "RAY_AUTH_MODE=token")],
)
def test_a_cluster_that_cannot_be_joined_is_named_with_the_remedy(
    address: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def refuses(**_: object) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuses)
    with pytest.raises(RayUnavailable, match=f"{address}.*{told}"):
        join(address)
