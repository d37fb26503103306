"""Clients of buckets at a real S3 server: listing, bytes, and what is told when it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.qdrant_server.certificates import Authority
from tests.support.object_store import SECRET, S3Server, keys_of_s3, s3_server, write_secret
from tests.support.servers import answering

from lookalike_crds.buckets import Bucket, object_address
from lookalike_crds.failures import (
    BUCKET_ACCESS_DENIED,
    BUCKET_CREDENTIALS_EXPIRED,
    BUCKET_CREDENTIALS_REFUSED,
    BUCKET_NOT_FOUND,
    BUCKET_UNREACHABLE,
    BUCKET_WRONG_REGION,
)
from lookalike_serving.images import ImageError
from lookalike_serving.images.buckets import BucketError, Buckets, Listed, open_store

ODD = (
    "a//b.jpg",
    "x/./y.jpg",
    "z/../w.jpg",
    "/lead.jpg",
    "tab\tx.jpg",
    "q?#%20 ü.jpg",
    "plain.jpg",
)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def odd(s3: S3Server) -> str:
    name = s3.bucket("odd-keys")
    for key in ODD:
        s3.put(name, key, key.encode())
    return name


def bucket(s3: S3Server, name: str, tmp_path: Path, **more: object) -> Bucket:
    keys = keys_of_s3(tmp_path / "secrets") / "keys"
    given = {"scheme": "s3", "name": name, "endpoint": s3.url, "credentials": keys, **more}
    return Bucket.model_validate(given)


async def listed(where: Bucket, prefix: str = "", after: str | None = None) -> list[Listed]:
    return [each async for page in open_store(where).list(prefix, after) for each in page]


async def test_every_key_that_the_service_allows_is_listed_and_read(
    s3: S3Server, odd: str, tmp_path: Path
) -> None:
    where = bucket(s3, odd, tmp_path)
    assert [each.key for each in await listed(where)] == sorted(ODD, key=str.encode)
    reader = Buckets([where], 1000)
    for key in ODD:
        assert object_address(where.address(key)) == ("s3", where.authority, key)
        assert await reader.read(where.address(key)) == key.encode()
    store = open_store(where)
    assert await store.read_range("plain.jpg", 1, 3) == b"lai"
    assert await store.read_range("a//b.jpg", 3, 2) == b"b."


async def test_a_prefix_is_text_and_startafter_a_key(
    s3: S3Server, odd: str, tmp_path: Path
) -> None:
    where = bucket(s3, odd, tmp_path)
    assert [each.key for each in await listed(where, "pla")] == ["plain.jpg"]
    after = await listed(where, "", "plain.jpg")
    assert [each.key for each in after] == ["q?#%20 ü.jpg", "tab\tx.jpg", "x/./y.jpg", "z/../w.jpg"]


async def test_a_long_listing_comes_in_pages(
    s3: S3Server, odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookalike_serving.images.buckets.s3.PAGE", 3)
    store = open_store(bucket(s3, odd, tmp_path))
    pages = [[each.key for each in page] async for page in store.list("")]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [key for page in pages for key in page] == sorted(ODD, key=str.encode)


async def test_only_the_declared_part_of_a_bucket_is_read(
    s3: S3Server, odd: str, tmp_path: Path
) -> None:
    reader = Buckets([bucket(s3, odd, tmp_path, prefix="a/")], 1000)
    whole = bucket(s3, odd, tmp_path)
    assert await reader.read(whole.address("a//b.jpg"))
    for address in (whole.address("plain.jpg"), f"s3://{odd}/a//b.jpg", "s3://odd-keys"):
        with pytest.raises(ImageError, match=r"no bucket that a source|no address"):
            await reader.read(address)


async def test_what_concerns_one_object_is_told_of_it_alone(s3: S3Server, tmp_path: Path) -> None:
    name = s3.bucket("single-objects")
    s3.put(name, "large.jpg", b"x" * 2000)
    s3.put(name, "cold.jpg", b"x", StorageClass="DEEP_ARCHIVE")
    where = bucket(s3, name, tmp_path)
    found = {each.key: each.archived for each in await listed(where)}
    assert found == {"large.jpg": None, "cold.jpg": "DEEP_ARCHIVE"}
    reader = Buckets([where], 1000)
    for key, code in (("large.jpg", "too_large"), ("cold.jpg", "archived"), ("no", "not_found")):
        with pytest.raises(ImageError) as refused:
            await reader.read(where.address(key))
        assert refused.value.code == code
        assert where.address(key) in refused.value.message


class Refusing(BaseHTTPRequestHandler):
    """Answers everything with one error of S3, as the path of the endpoint says."""

    answers: tuple[int, str] = (403, "AccessDenied")

    def do_GET(self) -> None:
        status, code = self.answers
        body = f"<Error><Code>{code}</Code><Message>said so</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amz-bucket-region", "eu-west-1")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that the server calls

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    with answering(Refusing) as url:
        yield url


@pytest.mark.parametrize(
    ("answer", "kind", "remedy"),
    [
        ((404, "NoSuchBucket"), BUCKET_NOT_FOUND, "correct the bucket's name"),
        ((403, "InvalidAccessKeyId"), BUCKET_CREDENTIALS_REFUSED, "Secret keys: correct them"),
        ((403, "SignatureDoesNotMatch"), BUCKET_CREDENTIALS_REFUSED, "Secret keys: correct them"),
        ((400, "ExpiredToken"), BUCKET_CREDENTIALS_EXPIRED, "renew them"),
        ((403, "AccessDenied"), BUCKET_ACCESS_DENIED, "grant s3:ListBucket and s3:GetObject"),
        ((400, "AuthorizationHeaderMalformed"), BUCKET_WRONG_REGION, "set region: eu-west-1"),
    ],
)
async def test_each_refusal_is_one_line_that_says_what_to_do(
    refusing: str, tmp_path: Path, answer: tuple[int, str], kind: object, remedy: str
) -> None:
    Refusing.answers = answer
    where = bucket(S3Server(refusing, None), "photos", tmp_path)
    for way in (listed(where), open_store(where).read("a.jpg", 10)):
        with pytest.raises(BucketError) as refused:
            await way
        assert refused.value.failure_kind is kind
        assert str(refused.value).startswith(str(where))
        assert "\n" not in str(refused.value)
        if kind is not BUCKET_WRONG_REGION:
            assert remedy in str(refused.value)
        else:
            assert "region" in str(refused.value)


async def test_no_server_at_the_endpoint(tmp_path: Path) -> None:
    where = bucket(S3Server("http://127.0.0.1:9", None), "photos", tmp_path)
    with pytest.raises(BucketError, match=r"cannot be reached at http://127\.0\.0\.1:9") as refused:
        await listed(where)
    assert refused.value.failure_kind is BUCKET_UNREACHABLE


async def test_an_endpoint_of_the_platform_is_not_asked(tmp_path: Path) -> None:
    for endpoint in ("http://169.254.169.254", "http://[::ffff:a9fe:a9fe]", "http://2852039166"):
        where = bucket(S3Server(endpoint, None), "latest", tmp_path)
        for way in (listed(where), open_store(where).read("meta-data", 10)):
            with pytest.raises(BucketError, match="link-local or metadata address"):
                await way


async def test_callers_are_not_told_of_secrets(
    refusing: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Refusing.answers = (403, "InvalidAccessKeyId")
    where = bucket(S3Server(refusing, None), "photos", tmp_path)
    with pytest.raises(ImageError) as refused:
        await Buckets([where], 10, discreet=True).read(where.address("a.jpg"))
    assert refused.value.code == "access_denied"
    assert "keys" not in refused.value.message
    assert "the Secret keys" in caplog.text


async def test_what_is_no_service_of_buckets_is_not_quoted(tmp_path: Path) -> None:
    class Other(Refusing):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"internal")

    with answering(Other) as url:
        where = bucket(S3Server(url, None), "photos", tmp_path)
        for way in (listed(where), open_store(where).read("a.jpg", 10)):
            with pytest.raises((BucketError, ImageError)) as refused:
                await way
            assert "internal" not in str(refused.value)


async def test_a_secret_without_keys_names_the_keys(s3: S3Server, tmp_path: Path) -> None:
    secrets = write_secret(tmp_path / "secrets", "empty", PASSWORD="x")
    where = bucket(s3, "photos", tmp_path, credentials=secrets / "empty")
    with pytest.raises(BucketError, match="Secret empty: AWS_ACCESS_KEY_ID and") as refused:
        await listed(where)
    assert refused.value.failure_kind is BUCKET_CREDENTIALS_REFUSED


class Rotated(Refusing):
    """Knows one access key, which is that of a Secret once it was rotated."""

    known = "AKIANEW"

    def do_GET(self) -> None:
        if self.known not in self.headers.get("Authorization", ""):
            Refusing.do_GET(self)
            return
        body = b"picture"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)


async def test_rotated_credentials_are_taken_over_without_a_restart(tmp_path: Path) -> None:
    with answering(Rotated) as url:
        Rotated.answers = (403, "InvalidAccessKeyId")
        secrets = write_secret(
            tmp_path / "secrets", "s", AWS_ACCESS_KEY_ID="AKIAOLD", AWS_SECRET_ACCESS_KEY=SECRET
        )
        store = open_store(Bucket(scheme="s3", name="p", endpoint=url, credentials=secrets / "s"))
        with pytest.raises(BucketError):
            await store.read("a.jpg", 10)
        write_secret(tmp_path / "secrets", "s", AWS_ACCESS_KEY_ID="AKIANEW")
        assert await store.read("a.jpg", 10) == b"picture"


class Pictures(Refusing):
    """One object in one bucket, for whoever asks."""

    def do_GET(self) -> None:
        body = b"picture"
        if "list-type" in self.path:
            tags = "<Key>a.jpg</Key><Size>7</Size><LastModified>2026-01-01T00:00:00.000Z"
            found = f"<Contents>{tags}</LastModified></Contents>"
            body = f"<ListBucketResult>{found}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)


async def test_a_service_with_certificates_of_its_own_authority(tmp_path: Path) -> None:
    ours = Authority.make("ours")
    with answering(Pictures, ours.server()) as url:
        there = S3Server(url, None)
        where = bucket(there, "photos", tmp_path)
        with pytest.raises(BucketError, match=r"(?i)certificate") as refused:
            await listed(where)
        assert refused.value.failure_kind is BUCKET_UNREACHABLE
        write_secret(tmp_path / "secrets", "keys", **{"ca.crt": ours.pem})
        assert [each.key for each in await listed(where)] == ["a.jpg"]
        assert await open_store(where).read("a.jpg", 10) == b"picture"


def test_addresses_of_two_services_differ() -> None:
    there = Bucket(scheme="s3", name="photos")
    here = Bucket(scheme="s3", name="photos", endpoint="http://minio:9000")
    blob = Bucket(scheme="az", name="photos", account="shop")
    assert there.address("a b") == "s3://photos/a%20b"
    assert here.address("a") == "s3://photos@minio:9000/a"
    assert blob.address("a") == "az://photos@shop/a"
    for address in ("s3:/photos/a", "s3://photos", "file:///a", "https://photos/a"):
        assert object_address(address) is None
