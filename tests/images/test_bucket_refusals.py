"""What Google and Azure answer when they refuse, in their own words: one line that says what to do.

Their emulators refuse little of this. The answers are as the services document them.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.support.object_store import write_secret
from tests.support.servers import answering

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import (
    BUCKET_ACCESS_DENIED,
    BUCKET_CREDENTIALS_EXPIRED,
    BUCKET_CREDENTIALS_REFUSED,
    BUCKET_NOT_FOUND,
    BUCKET_UNREACHABLE,
    FailureKind,
)
from lookalike_serving.images.buckets import BucketError, LabelKinds, open_store
from lookalike_serving.images.errors import Code, ImageError


class Refusing(BaseHTTPRequestHandler):
    answer: tuple[int, str] = (403, "")
    listing: tuple[int, str] | None = None
    """What a listing of S3 is answered with, if otherwise."""

    def do_GET(self) -> None:
        status, body = self.answer
        if self.listing is not None and "list-type=2" in self.path:
            status, body = self.listing
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body.encode())

    do_HEAD = do_GET  # noqa: N815 - the name that the server calls

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    with answering(Refusing) as url:
        yield url


def answer(code: str, message: str, detail: str = "") -> str:
    more = f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>" if detail else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"
    )


def photos(scheme: str, endpoint: str, folder: Path) -> Bucket:
    keys = {"AZURE_STORAGE_SAS_TOKEN": "sv=2021-08-06&se=2020-01-02&sig=abc"}
    if scheme == "s3":
        keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "none"}
    secret = write_secret(folder, "keys", **keys) / "keys"
    return Bucket.model_validate(
        {
            "scheme": scheme,
            "name": "photos",
            "account": "shop" if scheme == "az" else None,
            "endpoint": endpoint,
            "credentials": None if scheme == "gs" else secret,
        }
    )


FAILED = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is "
    "formed correctly including the signature.\nRequestId:1\nTime:2026-01-01T00:00:00Z"
)
LATE = (
    "Signature not valid in the specified time frame: Start [Wed, 01 Jan 2020 00:00:00 GMT] - "
    "Expiry [Thu, 02 Jan 2020 00:00:00 GMT] - Current [Thu, 01 Jan 2026 00:00:00 GMT]"
)


@pytest.mark.parametrize(
    ("scheme", "status", "body", "kind", "remedy"),
    [
        (
            "gs",
            404,
            answer("NoSuchBucket", "The specified bucket does not exist."),
            BUCKET_NOT_FOUND,
            "correct the bucket's name",
        ),
        (
            "gs",
            403,
            answer("AccessDenied", "Access denied."),
            BUCKET_ACCESS_DENIED,
            "grant Storage Object Viewer",
        ),
        (
            "gs",
            401,
            answer("AuthenticationRequired", "Authentication required."),
            BUCKET_CREDENTIALS_REFUSED,
            "GOOGLE_SERVICE_ACCOUNT_KEY",
        ),
        (
            "az",
            404,
            answer("ContainerNotFound", "The specified container does not exist."),
            BUCKET_NOT_FOUND,
            "correct the container's name",
        ),
        (
            "az",
            403,
            answer("AuthenticationFailed", FAILED, "The MAC signature found is not the same"),
            BUCKET_CREDENTIALS_REFUSED,
            "Secret keys: correct them",
        ),
        (
            "az",
            403,
            answer("AuthenticationFailed", FAILED, LATE),
            BUCKET_CREDENTIALS_EXPIRED,
            "they have expired; renew them",
        ),
        (
            "az",
            403,
            answer("AuthorizationPermissionMismatch", "This request is not authorized."),
            BUCKET_ACCESS_DENIED,
            "grant Storage Blob Data Reader",
        ),
        (
            "az",
            403,
            answer("AuthorizationFailure", "This request is not authorized."),
            BUCKET_ACCESS_DENIED,
            "allow this network in the firewall of the storage account",
        ),
        (
            "s3",
            403,
            answer("RequestTimeTooSkewed", "The difference is too large."),
            BUCKET_CREDENTIALS_REFUSED,
            "set the clock",
        ),
    ],
)
async def test_each_refusal_is_one_line_that_says_what_to_do(
    refusing: str,
    tmp_path: Path,
    scheme: str,
    status: int,
    body: str,
    kind: FailureKind,
    remedy: str,
) -> None:
    Refusing.answer = (status, body)
    where = photos(scheme, refusing, tmp_path)
    with pytest.raises(BucketError) as refused:
        async for _ in open_store(where).list(""):
            pass
    assert refused.value.failure_kind is kind
    assert remedy in str(refused.value)
    assert str(refused.value).startswith(str(where))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("body", ["", "404 page not found", "<html><h1>Not Found</h1></html>"])
async def test_what_is_not_there_in_the_words_of_a_stranger_may_be_there(
    refusing: str, tmp_path: Path, scheme: str, body: str
) -> None:
    """Of a proxy, or of whoever has the service's address while that is away."""
    Refusing.answer = (404, body)
    store = open_store(photos(scheme, refusing, tmp_path))
    for asked in (store.read("a.jpg", 1000), store.size("a.jpg"), store.look("a.jpg")):
        with pytest.raises(BucketError, match="check the endpoint") as refused:
            await asked
        assert refused.value.failure_kind is BUCKET_UNREACHABLE
        assert "is no service of buckets" in str(refused.value)
        assert "html" not in str(refused.value)


LISTED = (
    "<ListBucketResult><Contents><Key>a.jpg</Key><ETag>1</ETag><Size>3</Size>"
    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
)


async def test_an_object_that_is_listed_is_not_missing(
    refusing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Refusing.answer = (404, "")
    monkeypatch.setattr(Refusing, "listing", (200, LISTED))
    store = open_store(photos("s3", refusing, tmp_path))
    found = await store.look("a.jpg")
    assert found is not None
    assert found.key == "a.jpg"
    with pytest.raises(BucketError, match="is listed, and yet") as refused:
        await store.read("a.jpg", 1000)
    assert refused.value.failure_kind is BUCKET_UNREACHABLE


@pytest.mark.parametrize(
    "listing", [(200, "<ListBucketResult/>"), (403, answer("AccessDenied", "Access denied."))]
)
async def test_an_object_is_missing_if_it_is_not_listed_or_may_not_be(
    refusing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing: tuple[int, str]
) -> None:
    Refusing.answer = (404, "")
    monkeypatch.setattr(Refusing, "listing", listing)
    store = open_store(photos("s3", refusing, tmp_path))
    for asked in (store.read("a.jpg", 1000), store.size("a.jpg")):
        with pytest.raises(ImageError, match="there is no object s3://photos") as missing:
            await asked
        assert missing.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("scheme", "code", "remedy"),
    [
        ("s3", "AccessDenied", "grant s3:GetObjectTagging, or remove metadata.tags"),
        ("az", "AuthorizationPermissionMismatch", "with the permission t, or remove metadata.tags"),
    ],
)
async def test_tags_that_may_not_be_read_name_the_permission(
    refusing: str, tmp_path: Path, scheme: str, code: str, remedy: str
) -> None:
    Refusing.answer = (403, answer(code, "Access denied."))
    store = open_store(photos(scheme, refusing, tmp_path), LabelKinds(tags=True))
    with pytest.raises(BucketError, match=remedy) as refused:
        await store.labels("a.jpg")
    assert refused.value.failure_kind is BUCKET_ACCESS_DENIED
    assert "Secret keys" in str(refused.value)


async def test_a_profile_that_is_not_there_is_told(
    refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "none-such")
    with pytest.raises(BucketError, match="profile \\(none-such\\) could not be found") as refused:
        async for _ in open_store(Bucket(scheme="s3", name="p", endpoint=refusing)).list(""):
            pass
    assert refused.value.failure_kind is BUCKET_CREDENTIALS_REFUSED
