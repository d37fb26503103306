from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from lookalike_crds.config import FetchPolicy
from lookalike_serving.images import ImageError, ImageFetcher, ImageFile, ImageStore, thumbnails
from lookalike_serving.images.holders import holder_of, release_index


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.fixture
async def fetcher() -> AsyncIterator[ImageFetcher]:
    fetcher = ImageFetcher(FetchPolicy(max_bytes=1_000_000, allow_private_addresses=True))
    yield fetcher
    await fetcher.close()


@pytest.fixture
def store(tmp_path: Path, root: Path, fetcher: ImageFetcher) -> ImageStore:
    return ImageStore(tmp_path / "data", [root], fetcher)


async def refused(awaitable) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await awaitable
    return caught.value


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- uploads ------------------------------------------------------------------------------


async def test_an_upload_comes_back_with_its_type(store, jpeg):
    assert await store.get(await store.put(ImageFile.of(jpeg), "JPEG", "a")) == (jpeg, "image/jpeg")


async def test_an_upload_is_named_and_filed_by_its_content(store, jpeg, tmp_path):
    digest = hashlib.sha256(jpeg).hexdigest()
    assert await store.put(ImageFile.of(jpeg), "JPEG", "a") == f"upload:{digest}.jpg"
    assert (tmp_path / "data" / "images" / digest[:2] / f"{digest}.jpg").read_bytes() == jpeg


async def test_the_same_bytes_are_kept_once(store, png, tmp_path):
    uris = await asyncio.gather(*(store.put(ImageFile.of(png), "PNG", f"d{n}") for n in range(16)))
    assert len(set(uris)) == 1
    assert len([file for file in files(tmp_path / "data") if file.stat().st_size]) == 1


async def test_a_deleted_upload_is_gone_with_its_thumbnails(store, png, tmp_path):
    uri = await store.put(ImageFile.of(png), "PNG", "a")
    await store.thumbnail(uri, 64)
    assert await store.release(uri, "a") is True
    assert files(tmp_path / "data") == []
    assert (await refused(store.get(uri))).code == "not_found"
    assert await store.release(uri, "a") is False


async def test_an_image_goes_with_the_last_document_that_shows_it(store, png, tmp_path):
    uri = await store.put(ImageFile.of(png), "PNG", "a")
    assert await store.put(ImageFile.of(png), "PNG", "b") == uri
    assert await store.release(uri, "a") is False
    assert await store.release(uri, "a") is False
    assert (await store.get(uri))[0] == png
    assert await store.release(uri, "b") is True
    assert files(tmp_path / "data") == []


async def test_an_image_of_before_holders_were_noted_stays(store, png, tmp_path):
    digest = hashlib.sha256(png).hexdigest()
    old = tmp_path / "data" / "images" / digest[:2] / f"{digest}.png"
    old.parent.mkdir(parents=True)
    old.write_bytes(png)
    uri = await store.put(ImageFile.of(png), "PNG", "a")
    assert await store.release(uri, "a") is False
    assert (await store.get(uri))[0] == png


async def test_whoever_takes_hold_while_another_lets_go_has_the_image(store, png, tmp_path):
    """Many documents come and go at once, in threads; each that is there can show its image."""
    uri = await store.put(ImageFile.of(png), "PNG", "first")

    async def come_and_go(holder: str) -> None:
        for _ in range(25):
            assert await store.put(ImageFile.of(png), "PNG", holder) == uri
            await store.release(uri, holder)

    await asyncio.gather(*(come_and_go(f"d{n}") for n in range(8)))
    assert (await store.get(uri))[0] == png
    assert await store.release(uri, "first") is True
    assert files(tmp_path / "data") == []


async def test_what_an_index_held_goes_with_it(store, png, jpeg, tmp_path):
    both = await store.put(ImageFile.of(png), "PNG", holder_of("old", "1"))
    await store.put(ImageFile.of(png), "PNG", holder_of("new", "1"))
    alone = await store.put(ImageFile.of(jpeg), "JPEG", holder_of("old", "2"))
    assert release_index(tmp_path / "data" / "images", "old") == 1
    assert (await store.get(both))[0] == png
    assert (await refused(store.get(alone))).code == "not_found"


@pytest.mark.parametrize(
    "uri",
    [
        "upload:" + "0" * 64 + ".jpg",
        "upload:../../etc/passwd",
        "upload:" + "a" * 64 + ".jpg/../../x",
        "upload:" + "A" * 64 + ".jpg",
        "upload:",
    ],
)
async def test_an_upload_that_is_not_there_is_not_found(store, uri):
    assert (await refused(store.get(uri))).code == "not_found"
    assert await store.release(uri, "a") is False


async def test_a_full_disk_is_the_callers_to_handle(tmp_path, store, png):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").write_text("in the way")
    with pytest.raises(OSError, match="images"):
        await store.put(ImageFile.of(png), "PNG", "a")


# --- files --------------------------------------------------------------------------------


async def test_a_file_inside_a_root_is_served(store, root, png):
    file = root / "a b%.png"
    file.write_bytes(png)
    assert await store.get(file.as_uri()) == (png, "image/png")


async def test_a_link_inside_a_root_to_inside_is_served(store, root, png):
    (root / "a.png").write_bytes(png)
    (root / "link.png").symlink_to(root / "a.png")
    assert (await store.get((root / "link.png").as_uri()))[0] == png


async def test_a_link_out_of_a_root_is_refused(store, root, tmp_path, png):
    (tmp_path / "secret.png").write_bytes(png)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    assert (await refused(store.get((root / "link.png").as_uri()))).code == "forbidden_path"


@pytest.mark.parametrize(
    "path",
    [
        "{root}/../secret.png",
        "{root}/%2e%2e/secret.png",
        "{root}/..%2fsecret.png",
        "{root}2/secret.png",
        "/etc/passwd",
        "/no/such/file",
        "relative.png",
        "{root}/nul%00.png",
    ],
)
async def test_files_outside_are_refused_alike_there_or_not(path, store, root, tmp_path, png):
    (tmp_path / "secret.png").write_bytes(png)
    beside = root.with_name(root.name + "2")
    beside.mkdir()
    (beside / "secret.png").write_bytes(png)
    assert (await refused(store.get("file://" + path.format(root=root)))).code == "forbidden_path"


async def test_a_file_of_another_host_is_refused(store, root, png):
    (root / "a.png").write_bytes(png)
    assert (await refused(store.get(f"file://elsewhere{root}/a.png"))).code == "forbidden_path"


async def test_a_file_that_went_is_not_found(store, root):
    assert (await refused(store.get((root / "gone.png").as_uri()))).code == "not_found"


async def test_a_folder_or_a_pipe_is_not_an_image(store, root):
    os.mkfifo(root / "pipe.png")
    for path in (root, root / "pipe.png"):
        assert (await refused(store.get(path.as_uri()))).code == "not_found"


async def test_a_loop_of_links_is_not_found(store, root):
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    assert (await refused(store.get((root / "a").as_uri()))).code in {"not_found", "forbidden_path"}


async def test_a_file_above_the_byte_limit_is_refused(store, root):
    (root / "large.png").write_bytes(bytes(1_000_001))
    assert (await refused(store.get((root / "large.png").as_uri()))).code == "too_large"


async def test_without_roots_no_file_is_served(tmp_path, root, png, fetcher):
    (root / "a.png").write_bytes(png)
    closed = ImageStore(tmp_path / "data", [], fetcher)
    assert (await refused(closed.get((root / "a.png").as_uri()))).code == "forbidden_path"


async def test_files_are_never_deleted(store, root, png):
    (root / "a.png").write_bytes(png)
    assert await store.release((root / "a.png").as_uri(), "a") is False
    assert (root / "a.png").exists()


# --- URLs ---------------------------------------------------------------------------------


async def test_a_url_is_fetched(store, png):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
        writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(png) + png)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        # The type is what the bytes are, not what the server says.
        assert await store.get(f"http://127.0.0.1:{port}/a.png") == (png, "image/png")


@pytest.mark.parametrize("uri", ["s3://bucket/a.png", "ftp://host/a.png", "a.png", "", "data:,x"])
async def test_other_addresses_are_refused(store, uri):
    assert (await refused(store.get(uri))).code == "forbidden_scheme"


# --- thumbnails ---------------------------------------------------------------------------


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("asked", "longest"), [(1, 64), (64, 64), (65, 96), (200, 256), (512, 512), (9999, 512)]
)
async def test_sizes_come_in_steps(store, encode, scene_of, asked, longest):
    uri = await store.put(ImageFile.of(encode(scene_of(1200, 900), "JPEG")), "JPEG", "a")
    thumbnail = opened(await store.thumbnail(uri, asked))
    assert thumbnail.format == "WEBP"
    assert thumbnail.size == (longest, longest * 3 // 4)


async def test_a_small_image_is_not_enlarged(store, encode, scene_of):
    uri = await store.put(ImageFile.of(encode(scene_of(40, 30), "PNG")), "PNG", "a")
    assert opened(await store.thumbnail(uri, 256)).size == (40, 30)


async def test_a_long_image_stays_within_the_size(store, encode, scene_of):
    uri = await store.put(ImageFile.of(encode(scene_of(3000, 60), "JPEG")), "JPEG", "a")
    assert opened(await store.thumbnail(uri, 128)).size[0] == 128


async def test_a_thumbnail_is_made_once(store, png, tmp_path):
    uri = await store.put(ImageFile.of(png), "PNG", "a")
    first = await store.thumbnail(uri, 64)
    (source,) = (file for file in files(tmp_path / "data" / "images") if file.stat().st_size)
    source.unlink()
    assert await store.thumbnail(uri, 64) == first


async def test_requests_at_once_are_answered_alike(store, png, tmp_path):
    uri = await store.put(ImageFile.of(png), "PNG", "a")
    made = await asyncio.gather(*(store.thumbnail(uri, 100) for _ in range(20)))
    assert len(set(made)) == 1
    assert len(files(tmp_path / "data" / "thumbnails")) == 1


async def test_one_callers_leaving_costs_the_others_nothing(store, png):
    uri = await store.put(ImageFile.of(png), "PNG", "a")
    leaving = asyncio.create_task(store.thumbnail(uri, 64))
    staying = asyncio.create_task(store.thumbnail(uri, 64))
    await asyncio.sleep(0)
    leaving.cancel()
    assert opened(await staying).format == "WEBP"


async def test_a_changed_file_gets_a_new_thumbnail(store, root, encode):
    file = root / "a.png"
    colours = []
    for colour in ("red", "blue"):
        file.write_bytes(encode(Image.new("RGB", (64, 64), colour), "PNG"))
        os.utime(file, ns=(len(colours), len(colours)))  # same size: the time alone tells
        colours.append(opened(await store.thumbnail(file.as_uri(), 64)).convert("RGB"))
    red, blue = (image.getpixel((32, 32)) for image in colours)
    assert red[0] > 200
    assert blue[2] > 200


async def test_what_is_no_image_has_no_thumbnail(store, root):
    (root / "a.png").write_bytes(b"<html></html>")
    assert (await refused(store.thumbnail((root / "a.png").as_uri(), 64))).code == "not_an_image"


async def test_a_failure_is_not_remembered(store, root, png):
    uri = (root / "a.png").as_uri()
    assert (await refused(store.thumbnail(uri, 64))).code == "not_found"
    (root / "a.png").write_bytes(png)
    assert opened(await store.thumbnail(uri, 64)).format == "WEBP"


async def test_the_cache_is_bounded_and_the_longest_unused_goes_first(tmp_path):
    cache = thumbnails.ThumbnailCache(tmp_path, 10_000)
    for i in range(9):
        cache.put(f"u{i}", "", 64, bytes(1000))
    for age, path in enumerate(files(tmp_path)):
        os.utime(path, (1000 + age, 1000 + age))
    oldest = min(range(9), key=lambda i: cache._path(f"u{i}", "", 64).stat().st_mtime)
    assert cache.get(f"u{oldest}", "", 64) is not None  # used: now the youngest
    for i in range(9, 12):
        cache.put(f"u{i}", "", 64, bytes(1000))
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 10_000
    assert cache.get(f"u{oldest}", "", 64) is not None
    assert cache.get("u11", "", 64) is not None


async def test_the_bound_counts_what_an_earlier_process_left(tmp_path):
    before = thumbnails.ThumbnailCache(tmp_path, 100_000)
    for i in range(20):
        before.put(f"u{i}", "", 64, bytes(1000))
    after = thumbnails.ThumbnailCache(tmp_path, 5_000)
    after.put("new", "", 64, bytes(1000))
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 5_000


async def test_a_cache_that_cannot_be_written_costs_nothing_but_time(store, png, tmp_path):
    uri = await store.put(ImageFile.of(png), "PNG", "a")
    (tmp_path / "data" / "thumbnails").write_text("in the way")
    assert opened(await store.thumbnail(uri, 64)).format == "WEBP"
