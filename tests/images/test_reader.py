"""One reader of bytes by address: who may name what, and what a new kind of place takes."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lookalike_crds.config import FetchPolicy
from lookalike_serving.images import ImageError, ImageFetcher, Reader
from lookalike_serving.images.reader import for_callers, for_sources, is_remote, scheme_of


@pytest.fixture
async def fetcher() -> AsyncIterator[ImageFetcher]:
    fetcher = ImageFetcher(FetchPolicy(max_bytes=1024))
    yield fetcher
    await fetcher.close()


async def refused(reader: Reader, address: str) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await reader.read(address)
    return caught.value


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("C:\\shoe.jpg", "forbidden_scheme", "https://"),
        ("file:///etc/passwd", "forbidden_scheme", "https://"),
        ("upload:ab.jpg", "forbidden_scheme", "https://"),
        ("s3://bucket/key.jpg", "forbidden_scheme", "https://"),
        ("http://127.0.0.1:1/x", "forbidden_address", "127.0.0.1"),
        ("", "empty", "empty"),
    ],
)
async def test_callers_name_the_web_and_what_they_send(address, code, words, fetcher):
    error = await refused(for_callers(fetcher), address)
    assert error.code == code
    assert words in error.message


@pytest.mark.parametrize("start", ["", "\n ", "data:image/png;base64,", " DATA:;base64,"])
async def test_callers_send_the_bytes_themselves(start, fetcher):
    encoded = base64.b64encode(b"bytes").decode()
    assert await for_callers(fetcher).read(start + encoded) == b"bytes"


async def test_a_scheme_that_the_policy_leaves_out_is_refused():
    fetcher = ImageFetcher(FetchPolicy(schemes=("https",)))
    error = await refused(for_callers(fetcher), "http://example.com/a.jpg")
    assert error.code == "forbidden_scheme"
    assert "http://" not in error.message.partition(": use ")[2]
    await fetcher.close()


async def test_sources_list_files_of_any_folder(tmp_path: Path, fetcher):
    (tmp_path / "é a.jpg").write_bytes(b"bytes")
    assert await for_sources(fetcher).read((tmp_path / "é a.jpg").as_uri()) == b"bytes"


async def test_a_file_that_cannot_be_read_is_told_in_the_words_of_the_system(
    tmp_path: Path, fetcher
):
    reader = for_sources(fetcher)
    (tmp_path / "large").write_bytes(bytes(1025))
    for name, code, told in (
        ("none", "not_found", "cannot be read: No such file or directory"),
        (".", "not_found", "cannot be read: it is no file but a folder, pipe, socket or device"),
        ("large", "too_large", "cannot be read: it has more than 1,024 bytes (fetch.max_bytes)"),
    ):
        error = await refused(reader, (tmp_path / name).as_uri())
        assert (error.code, error.message) == (code, told)


async def test_sources_carry_no_bytes_in_their_addresses(fetcher):
    assert (await refused(for_sources(fetcher), "data:,x")).code == "forbidden_scheme"


async def test_a_new_kind_of_place_is_one_class_for_its_scheme():
    class Bucket:
        async def read(self, address: str) -> bytes:
            return address.encode()

    assert await Reader({"gs": Bucket()}).read("GS://shop/a.jpg") == b"GS://shop/a.jpg"


@pytest.mark.parametrize(
    ("address", "scheme", "remote"),
    [
        ("HTTPS://example.com", "https", True),
        (" http://example.com", "http", True),
        ("file:///a.jpg", "file", False),
        ("a.jpg", "", False),
        ("/9j/4AAQ", "", False),
    ],
)
def test_an_address_tells_where_it_leads(address, scheme, remote):
    assert (scheme_of(address), is_remote(address)) == (scheme, remote)
