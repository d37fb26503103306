"""Document images by their address: uploads of ours, files of allowed folders, URLs.

| address                     | where                                            |
|-----------------------------|--------------------------------------------------|
| `upload:<sha256>.<ext>`     | `data_dir/images/ab/<sha256>.<ext>`; ours        |
| `file:///…`                 | as it is, only inside `image_roots`; not ours    |
| `https://…`, `http://…`     | fetched each time, within the policy; not ours   |
| `s3://…`, `gs://…`, `az://…` | fetched each time from a declared bucket; not ours |

Uploads are named by their content: the same bytes are kept once, and an address never
changes its meaning. Only they are ever deleted, when the last document lets go (`holders.py`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lookalike_serving.images import thumbnails
from lookalike_serving.images.buckets import Buckets
from lookalike_serving.images.fetch import ImageFetcher
from lookalike_serving.images.holders import hold, release
from lookalike_serving.images.image_file import ImageFile
from lookalike_serving.images.local_files import ServedFiles, not_found, read_or_not_found
from lookalike_serving.images.reader import Reader, remote_places, scheme_of
from lookalike_serving.images.sniff import EXTENSIONS, MEDIA_TYPES, sniff
from lookalike_serving.machine.disk import check_room
from lookalike_serving.machine.files import write_atomically

DEFAULT_CACHE_BYTES = 512 * 1024 * 1024
_UPLOAD = re.compile(r"upload:([0-9a-f]{64})\.([a-z0-9]{1,8})")
_UNKNOWN_MEDIA_TYPE = "application/octet-stream"


class ImageStore:
    """The images of one data folder. No method blocks the event loop.

    `image_roots` are the folders whose files may be served; with none, no file is.
    """

    def __init__(
        self,
        data_dir: Path,
        image_roots: Iterable[Path],
        fetcher: ImageFetcher,
        *,
        buckets: Buckets | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self._folder = data_dir / "images"
        self._policy = fetcher.policy
        self._files = ServedFiles(self._policy.max_bytes, image_roots)
        uploads = _Uploads(self._folder, self._policy.max_bytes)
        remote = remote_places(fetcher, buckets)
        self._reader = Reader({"upload": uploads, "file": self._files, **remote})
        self._thumbnails = thumbnails.ThumbnailCache(data_dir / "thumbnails", cache_bytes)
        # Of their own: an unusual image may hold one for a while.
        self._threads = ThreadPoolExecutor(2, "thumbnails")
        self._rendering: dict[tuple[str, int, str], asyncio.Task[bytes]] = {}

    def take_roots(self, image_roots: Iterable[Path]) -> None:
        """Serve the files of these folders from now on."""
        self._files.take_roots(image_roots)

    async def put(self, image: ImageFile, format: str, holder: str) -> str:
        """Keep an image for the document `holder`, on disk when this returns, and say its address.

        `format` is `DecodedImage.format`. Raises NoRoom; OSError if the disk takes nothing.
        """
        return await asyncio.to_thread(self._put, image, EXTENSIONS[format], holder)

    async def get(self, uri: str) -> tuple[bytes, str]:
        """(bytes, media type by content). Raises ImageError: `not_found`, `forbidden_path`, …"""
        data = await self._reader.read(uri)
        return data, MEDIA_TYPES.get(sniff(data).format or "", _UNKNOWN_MEDIA_TYPE)

    async def held(self, uri: str, holder: str) -> bytes:
        """The image for a further document that shows it: an upload stays until both let go.

        Raises ImageError.
        """
        upload = _upload_path(self._folder, uri)
        if upload is not None:
            await asyncio.to_thread(_hold, upload, holder, uri)
        return await self._reader.read(uri)

    async def release(self, uri: str, holder: str) -> bool:
        """The document `holder` no longer shows the image; whether that removed an upload.

        It goes, with its thumbnails, when no other document holds it. Of files and URLs only the
        thumbnails go: the images are not ours.
        """
        return await asyncio.to_thread(self._release, uri, holder)

    async def thumbnail(self, uri: str, size: int, version: str = "") -> bytes:
        """WebP (`thumbnails.MEDIA_TYPE`), longest side `size` pixels rounded up to a step of
        `thumbnails.STEPS`, or the image's own if that is less. Raises ImageError.

        `version` changes when the image does, as far as the document knows: what lies elsewhere is
        not asked each time.
        """
        key = (uri, thumbnails.step(size), version)
        # A page asks for the same picture twice at once; it is made once.
        task = self._rendering.get(key)
        if task is None:
            task = self._rendering[key] = asyncio.create_task(self._thumbnail(*key))
            task.add_done_callback(lambda done: self._rendered(key, done))
        return await asyncio.shield(task)

    def _rendered(self, key: tuple[str, int, str], done: asyncio.Task[bytes]) -> None:
        del self._rendering[key]
        if not done.cancelled():
            done.exception()  # seen, even where every caller has left: no complaint from asyncio

    async def _thumbnail(self, uri: str, size: int, version: str) -> bytes:
        if scheme_of(uri) == "file":
            version = await asyncio.to_thread(self._files.version, uri)
        known = await asyncio.to_thread(self._thumbnails.get, uri, version, size)
        if known is not None:
            return known
        data = await self._reader.read(uri)
        max_pixels = self._policy.max_pixels
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(self._threads, thumbnails.render, data, size, max_pixels)
        await asyncio.to_thread(self._thumbnails.put, uri, version, size, made)
        if (upload := _upload_path(self._folder, uri)) and not await asyncio.to_thread(
            upload.exists
        ):
            await asyncio.to_thread(self._thumbnails.forget, uri)  # it went in the meantime
        return made

    # --- blocking, in threads -------------------------------------------------------------

    def _put(self, image: ImageFile, extension: str, holder: str) -> str:
        path = _path(self._folder, image.sha256, extension)

        def write() -> None:  # names are contents: what is there is right
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, image.data, mode=0o600)

        check_room(self._folder, len(image.data))
        hold(path, holder, write)
        return f"upload:{image.sha256}.{extension}"

    def _release(self, uri: str, holder: str) -> bool:
        upload = _upload_path(self._folder, uri)
        if upload is None:
            self._thumbnails.forget(uri)
            return False
        if not release(upload, holder):
            return False
        self._thumbnails.forget(uri)
        return True


def _hold(upload: Path, holder: str, uri: str) -> None:
    """Raises ImageError if there is no such upload."""

    def missing() -> None:
        raise not_found(uri)

    hold(upload, holder, missing)


class _Uploads:
    """What was uploaded, by `upload:` address."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    async def read(self, address: str) -> bytes:
        path = _upload_path(self._folder, address)
        if path is None:
            raise not_found(address)
        return await asyncio.to_thread(read_or_not_found, path, self._max_bytes, address)


def _upload_path(folder: Path, address: str) -> Path | None:
    """Where an upload lies; None for every other address."""
    upload = _UPLOAD.fullmatch(address)
    return None if upload is None else _path(folder, *upload.groups())


def _path(folder: Path, digest: str, extension: str) -> Path:
    return folder / digest[:2] / f"{digest}.{extension}"
