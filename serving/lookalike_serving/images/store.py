"""Document images by their address: uploads of ours, files of allowed folders, URLs.

| address                     | where                                            |
|-----------------------------|--------------------------------------------------|
| `upload:<sha256>.<ext>`     | `data_dir/images/ab/<sha256>.<ext>`; ours        |
| `file:///…`                 | as it is, only inside `image_roots`; not ours    |
| `https://…`, `http://…`     | fetched each time, within the policy; not ours   |

Uploads are named by their content: the same bytes are kept once, and an address never
changes its meaning. Only they are ever deleted, when the last document lets go (`holders.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lookalike_serving.images import thumbnails
from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.fetch import ImageFetcher, shown
from lookalike_serving.images.holders import hold, release
from lookalike_serving.images.sniff import EXTENSIONS, MEDIA_TYPES, sniff
from lookalike_serving.machine.disk import check_room
from lookalike_serving.machine.files import write_atomically

DEFAULT_CACHE_BYTES = 512 * 1024 * 1024
_UPLOAD = re.compile(r"upload:([0-9a-f]{64})\.([a-z0-9]{1,8})")
# Links are not followed, and a pipe that nobody writes to does not block.
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
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
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self._folder = data_dir / "images"
        self.take_roots(image_roots)
        self._fetcher = fetcher
        self._thumbnails = thumbnails.ThumbnailCache(data_dir / "thumbnails", cache_bytes)
        # Of their own: an unusual image may hold one for a while.
        self._threads = ThreadPoolExecutor(2, "thumbnails")
        self._rendering: dict[tuple[str, int], asyncio.Task[bytes]] = {}

    def take_roots(self, image_roots: Iterable[Path]) -> None:
        """Serve the files of these folders from now on."""
        self._roots = tuple(root.resolve() for root in image_roots)

    async def put(self, data: bytes, format: str, holder: str) -> str:
        """Keep `data` for the document `holder`, on disk when this returns, and say its address.

        `format` is `DecodedImage.format`. Raises NoRoom; OSError where the disk takes nothing.
        """
        return await asyncio.to_thread(self._put, data, EXTENSIONS[format], holder)

    async def get(self, uri: str) -> tuple[bytes, str]:
        """(bytes, media type by content). Raises ImageError: `not_found`, `forbidden_path`, …"""
        data = await self._read(uri)
        return data, MEDIA_TYPES.get(sniff(data).format or "", _UNKNOWN_MEDIA_TYPE)

    async def release(self, uri: str, holder: str) -> bool:
        """The document `holder` no longer shows the image; whether that removed an upload.

        It goes, with its thumbnails, when no other document holds it. Of files and URLs only the
        thumbnails go: the images are not ours.
        """
        return await asyncio.to_thread(self._release, uri, holder)

    async def thumbnail(self, uri: str, size: int) -> bytes:
        """WebP (`thumbnails.MEDIA_TYPE`), longest side `size` pixels rounded up to a step of
        `thumbnails.STEPS`, or the image's own if that is less. Raises ImageError.
        """
        key = (uri, thumbnails.step(size))
        # A page asks for the same picture twice at once; it is made once.
        task = self._rendering.get(key)
        if task is None:
            task = self._rendering[key] = asyncio.create_task(self._thumbnail(*key))
            task.add_done_callback(lambda done: self._rendered(key, done))
        return await asyncio.shield(task)

    def _rendered(self, key: tuple[str, int], done: asyncio.Task[bytes]) -> None:
        del self._rendering[key]
        if not done.cancelled():
            done.exception()  # seen, even where every caller has left: no complaint from asyncio

    async def _thumbnail(self, uri: str, size: int) -> bytes:
        version = await asyncio.to_thread(self._version, uri)
        known = await asyncio.to_thread(self._thumbnails.get, uri, version, size)
        if known is not None:
            return known
        data = await self._read(uri)
        max_pixels = self._fetcher.policy.max_pixels
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(self._threads, thumbnails.render, data, size, max_pixels)
        await asyncio.to_thread(self._thumbnails.put, uri, version, size, made)
        if _scheme(uri) == "upload" and not await asyncio.to_thread(self._locate(uri).exists):
            await asyncio.to_thread(self._thumbnails.forget, uri)  # it went meanwhile
        return made

    async def _read(self, uri: str) -> bytes:
        match _scheme(uri):
            case "upload" | "file":
                return await asyncio.to_thread(self._read_file, uri)
            case "https" | "http":
                return (await self._fetcher.fetch(uri)).data
            case scheme:
                raise ImageError(
                    Code.FORBIDDEN_SCHEME,
                    f"images at {scheme or '(none)'!r} addresses cannot be served: {shown(uri)} "
                    "must be upload:, file:// or https://",
                )

    # --- blocking, in threads -------------------------------------------------------------

    def _put(self, data: bytes, extension: str, holder: str) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self._upload_path(digest, extension)

        def write() -> None:  # names are contents: what is there is right
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, mode=0o600)

        check_room(self._folder, len(data))
        hold(path, holder, write)
        return f"upload:{digest}.{extension}"

    def _read_file(self, uri: str) -> bytes:
        path = self._locate(uri)
        try:
            # Opened without following: between the check and now a link may have been put there.
            handle = os.open(path, _READ)
            with os.fdopen(handle, "rb") as file:
                state = os.fstat(file.fileno())
                if not stat.S_ISREG(state.st_mode):
                    raise _not_found(uri)
                limit = self._fetcher.policy.max_bytes
                if state.st_size > limit:
                    raise ImageError(
                        Code.TOO_LARGE,
                        f"{shown(uri)} has {state.st_size:,} bytes, more than the limit of "
                        f"{limit:,}: use a smaller version of it",
                    )
                return file.read()
        except OSError:
            raise _not_found(uri) from None

    def _release(self, uri: str, holder: str) -> bool:
        upload = _UPLOAD.fullmatch(uri)
        if not upload:
            self._thumbnails.forget(uri)
            return False
        if not release(self._upload_path(*upload.groups()), holder):
            return False
        self._thumbnails.forget(uri)
        return True

    def _version(self, uri: str) -> str:
        """Changes when a file does; uploads never change, and of URLs we cannot know."""
        if _scheme(uri) != "file":
            return ""
        try:
            state = self._locate(uri).stat()
        except OSError:
            raise _not_found(uri) from None
        return f"{state.st_mtime_ns}:{state.st_size}"

    def _locate(self, uri: str) -> Path:
        """The real path of an `upload:` or `file:` address, links followed. Raises ImageError."""
        if upload := _UPLOAD.fullmatch(uri):
            return self._upload_path(*upload.groups())
        if _scheme(uri) == "upload":
            raise _not_found(uri)
        address = urlsplit(uri)
        if address.netloc not in ("", "localhost") or "\x00" in unquote(address.path):
            raise _forbidden(uri)
        path = Path(unquote(address.path))
        if not path.is_absolute():
            raise _forbidden(uri)
        try:
            real = path.resolve()
        except (OSError, RuntimeError):  # a loop of links
            raise _not_found(uri) from None
        # The same answer for what is outside whether it exists or not: no probing of the disk.
        if not any(real.is_relative_to(root) for root in self._roots):
            raise _forbidden(uri)
        return real

    def _upload_path(self, digest: str, extension: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.{extension}"


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].lower() if ":" in uri else ""


def _not_found(uri: str) -> ImageError:
    return ImageError(Code.NOT_FOUND, f"there is no image at {shown(uri)} any more: add it again")


def _forbidden(uri: str) -> ImageError:
    return ImageError(
        Code.FORBIDDEN_PATH,
        f"{shown(uri)} is outside the folders whose images may be served: add its folder to "
        "image_roots",
    )
