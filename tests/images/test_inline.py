from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_serving.images import ImageError, inline
from lookalike_serving.images.inline import Inline, _data_url, _plain_base64

DATA = bytes(range(256)) * 5  # holds every base64 digit, + and / among them


MAX_BYTES = 100_000


async def read(value: str, max_bytes: int = MAX_BYTES) -> bytes:
    return await Inline(max_bytes).read(value)


async def refused(value: str) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await read(value)
    return caught.value


STANDARD = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "value",
    [
        STANDARD,
        STANDARD.rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
        base64.urlsafe_b64encode(DATA).decode().rstrip("="),
        base64.encodebytes(DATA).decode(),
        STANDARD.replace("A", "A\r\n\t "),
        "\n  " + STANDARD + "  \n",
        "data:image/png;base64," + STANDARD,
        "DATA:IMAGE/PNG;BASE64," + STANDARD,
        "data:;base64," + STANDARD,
        "data:image/png;charset=x;base64," + STANDARD.replace("+", "%2B").replace("/", "%2F"),
        "data:application/octet-stream," + "".join(f"%{b:02x}" for b in DATA),
    ],
)
async def test_every_spelling_gives_the_bytes(value):
    assert await read(value) == DATA


async def test_a_long_one_is_decoded_too():
    data = b"\xff\xd8\xff" + bytes(99_000)
    long = data * 4
    assert await read(base64.b64encode(long).decode(), 10**6) == long


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        ("", "empty", "empty"),
        ("   ", "empty", "empty"),
        ("data:image/png;base64,", "empty", "0 bytes"),
        ("data:image/png;base64", "bad_reference", "no comma"),
        ("data:image/png;base64,§§§§", "bad_reference", "not base64"),
        ("abc$def", "bad_reference", "'$' at position 3"),
        ("abcde", "bad_reference", "cut"),
        ("shoe.jpg", "bad_reference", "https://"),
        ("./shoe.jpg", "bad_reference", "uploaded"),
        ("example.com/shoe.jpg", "bad_reference", "https://"),
    ],
)
async def test_what_is_wrong_is_said(value, code, words):
    error = await refused(value)
    assert error.code == code
    assert words in error.message


@pytest.mark.parametrize("size", [100_001, 300_000, 2_000_000])
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_the_byte_limit_holds(size, prefix):
    value = prefix + base64.b64encode(bytes(size)).decode()
    assert (await refused(value)).code == "too_large"


async def test_the_byte_limit_is_exact():
    assert len(await read(base64.b64encode(bytes(MAX_BYTES)).decode())) == MAX_BYTES


@given(st.text())
def test_any_text_gives_bytes_or_an_image_error(text):
    with contextlib.suppress(ImageError):
        assert isinstance(_plain_base64(text, 1000), bytes)


@given(st.binary(min_size=1, max_size=200))
def test_what_was_encoded_comes_back(data):
    for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
        assert _plain_base64(encoded.decode(), 1000) == data


def outcome(decode, text: str) -> bytes | str:
    try:
        return decode(text, 10**6)
    except ImageError as refusal:
        return refusal.message


@pytest.mark.parametrize("size", [4, 5, 7, 64])
@given(text=st.text(alphabet="AQz09+/-_= \n%4é", max_size=40), data=st.binary(max_size=90))
def test_long_references_mean_what_short_ones_do(size, text, data):
    encoded = base64.b64encode(data).decode()
    for value in (text, encoded, encoded + text, text[:3] + encoded):
        for decode, given_as in (
            (_plain_base64, value),
            (_data_url, f"data:image/png;base64,{value}"),
            (_data_url, f"data:image/png,{value}%41%0a"),
        ):
            whole = outcome(decode, given_as)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(inline, "_SLICE", size)
                assert outcome(decode, given_as) == whole


def test_no_call_works_on_more_than_a_slice(monkeypatch):
    """Each holds Python's lock until it returns, and with it the server's event loop."""
    longest = 0

    class Watched(inline._Base64):
        def take(self, text):
            nonlocal longest
            longest = max(longest, len(text))
            super().take(text)

    monkeypatch.setattr(inline, "_Base64", Watched)
    data = bytes(2_000_000)
    assert _plain_base64(base64.b64encode(data).decode(), 10**7) == data
    assert longest == inline._SLICE
