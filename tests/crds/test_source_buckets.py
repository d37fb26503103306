"""Which buckets a collection's sources let be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lookalike_crds.sources import SourceSpec, buckets_of

SECRETS = Path("/secrets")


def read(*kinds: dict[str, Any]) -> list[tuple[str, str | None]]:
    """(address, Secret) of each bucket."""
    specs = [SourceSpec.model_validate({"name": f"s{i}", **kind}) for i, kind in enumerate(kinds)]
    return [
        (str(each), each.credentials and each.credentials.name)
        for each in buckets_of(specs, SECRETS)
    ]


def listing(**more: Any) -> dict[str, Any]:
    return {"s3": {"bucket": "photos", "credentialsSecretRef": "keys", **more}}


def manifest(address: str, **more: Any) -> dict[str, Any]:
    return {"urls": {"manifest": address, **more}}


def test_a_manifest_that_another_source_lists_is_read_as_that_source_reads_it() -> None:
    assert read(listing(), manifest("s3://photos/lists/a.csv")) == [("s3://photos/", "keys")]


def test_a_manifest_elsewhere_lets_its_own_folder_be_read() -> None:
    assert read(manifest("s3://photos/lists/a.csv")) == [("s3://photos/lists/", None)]
    assert read(listing(prefix="2024/"), manifest("s3://photos/lists/a.csv")) == [
        ("s3://photos/2024/", "keys"),
        ("s3://photos/lists/", None),
    ]
    assert read(manifest("az://pictures@shop/a.csv")) == [("az://pictures@shop/", None)]
    assert read(manifest("s3://photos@minio.example:9000/a.csv")) == [
        ("s3://photos@minio.example:9000/", None)
    ]


def test_a_manifest_with_credentials_of_its_own_is_read_with_them() -> None:
    own = manifest("s3://photos/lists/a.csv", credentialsSecretRef="others")
    assert read(listing(), own) == [("s3://photos/", "keys"), ("s3://photos/lists/", "others")]


def test_a_manifest_that_is_in_no_bucket_opens_none() -> None:
    assert read(manifest("https://example.com/a.csv"), manifest("a.csv")) == []


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        ({"manifest": "a.csv", "endpoint": "https://x"}, "endpoint applies to a manifest in a bu"),
        (
            {"manifest": "https://e.com/a.csv", "credentialsSecretRef": "k"},
            "credentialsSecretRef applies to a manifest in a bucket",
        ),
        ({"manifest": "az://pictures/a.csv"}, "write it as az://pictures@account/a.csv"),
    ],
)
def test_what_makes_no_sense_is_refused(urls: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SourceSpec.model_validate({"name": "s", "urls": urls})
