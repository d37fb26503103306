"""A bucket that is slow, busy, cut off, or changes its keys: each image is in once, or told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.object_store import write_secret
from tests.support.simulated_bucket import BUCKET, Asked, Fault, SimulatedBucket, running

from lookalike_crds.progress import Progress

from .conftest import Place

IMAGES = 40


@pytest.fixture
def bucket(tmp_path: Path, paint: Callable[..., Path]) -> Iterator[SimulatedBucket]:
    """Pictures and, so that the listing has several pages, other files."""
    (tmp_path / "painted").mkdir()
    data = {
        f"{n:03d}.png": paint(tmp_path / f"painted/{n}.png", n).read_bytes() for n in range(IMAGES)
    }
    keys = sorted([*data, *(f"{n:05d}.txt" for n in range(2_500))])
    with running(SimulatedBucket(keys, data.get)) as made:
        yield made


def ingest(place: Place, bucket: SimulatedBucket, **ingestion: Any) -> Progress:
    s3 = {"bucket": BUCKET, "endpoint": bucket.url, "credentialsSecretRef": "keys"}
    return place.ingest({"name": "cloud", "s3": s3}, **ingestion)


def keys(place: Place, access_key: str = "first") -> None:
    folder = place.folder / "secrets"
    write_secret(folder, "keys", AWS_ACCESS_KEY_ID=access_key, AWS_SECRET_ACCESS_KEY="secret")


@pytest.mark.parametrize("seed", range(2))
def test_answers_that_fail_now_and_then_are_asked_for_again(
    place: Place, bucket: SimulatedBucket, seed: int
) -> None:
    chance = random.Random(seed)
    told: dict[str, int] = {}

    def now_and_then(asked: Asked) -> Fault | None:
        # None so often that all attempts for one object fail.
        if chance.random() > 0.25 or told.get(asked.key, 0) >= 2:
            return None
        told[asked.key] = told.get(asked.key, 0) + 1
        return chance.choice([429, 500, 503, "cut", 0.3])

    keys(place)
    bucket.fault = now_and_then
    made = ingest(place, bucket)
    assert sum(told.values()) > 3
    assert (made.total.new, made.total.failed, made.total.left) == (IMAGES, 0, 0), made.failures
    assert len(place.documents()) == IMAGES


def test_a_service_that_stays_away_fails_the_images_and_the_next_run_takes_them(
    place: Place, bucket: SimulatedBucket
) -> None:
    keys(place)
    bucket.fault = lambda asked: 503 if asked.what == "GET" and asked.key < "010" else None
    made = ingest(place, bucket)
    assert (made.total.new, made.total.failed, made.total.left) == (IMAGES - 10, 10, 0)
    assert set(made.failed_by) == {"image-unreachable"}
    bucket.fault = lambda asked: None
    made = ingest(place, bucket)
    assert (made.total.new, made.total.unchanged, made.total.failed) == (10, IMAGES - 10, 0)
    assert len(place.documents()) == IMAGES


def test_keys_that_are_rotated_half_way_are_read_again(
    place: Place, bucket: SimulatedBucket
) -> None:
    """The Secret says something else before the service refuses what it said before."""
    accepted = ["first"]

    def refuses_others(asked: Asked) -> Fault | None:
        if asked.what == "GET" and asked.number == IMAGES // 2:
            keys(place, "second")
            accepted[0] = "second"
        return None if asked.access_key == accepted[0] else 403

    keys(place)
    bucket.fault = refuses_others
    made = ingest(place, bucket, batchSize=2)
    assert (made.total.new, made.total.failed, made.total.left) == (IMAGES, 0, 0), made.failures
    assert len(place.documents()) == IMAGES
