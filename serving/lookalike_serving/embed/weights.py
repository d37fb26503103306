"""What every provider that reads weights needs: the hub, and a name for a file's content.

A file of the Hugging Face hub is fetched into the cache folder once; the content of any file is
identified by its SHA-256. Nothing here knows what a provider does with a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.utils.tqdm import tqdm

from lookalike_serving.embed.arriving import Arriving
from lookalike_serving.embed.fetching import Damaged
from lookalike_serving.embed.protocol import ModelError, WeightsUnreachable
from lookalike_serving.embed.provider import failed_import

HUB = "hf-hub:"
TOKENIZER_FILES = ("*.json", "*.txt", "*.model")


def content_hash(file: Path, cache_dir: Path) -> str:
    """SHA-256 of the file, cached in `cache_dir` until its size or modification time changes."""
    stat = file.stat()
    stamp = {"path": str(file.resolve()), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    slot = hashlib.sha256(stamp["path"].encode()).hexdigest()[:32]  # type: ignore[attr-defined]
    note = cache_dir / "hashes" / f"{slot}.json"
    try:
        known = json.loads(note.read_text())
        if {key: known[key] for key in stamp} == stamp:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not hashed yet, or half written by a killed process
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        scratch = note.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps({**stamp, "sha256": digest}))
        scratch.replace(note)
    except OSError:
        pass  # a read-only cache only costs the next start a second or two
    return digest


@dataclass(frozen=True, slots=True)
class Hub:
    """One repository of the Hugging Face hub: the cache first, then the network.

    What was fetched once is kept: a new commit upstream must not change vectors between two
    restarts. `spec.model.revision` asks for another.
    """

    repository: str
    revision: str | None
    cache_dir: Path

    def fetch(self, file: str) -> Path:
        download = partial(
            hf_hub_download,
            self.repository,
            file,
            revision=self.revision,
            cache_dir=str(self.cache_dir),
            tqdm_class=noting(self.cache_dir / f"{self.repository.replace('/', '--')}--{file}"),
        )
        try:
            return Path(download(local_files_only=True))
        except EntryNotFoundError:
            if not is_online():
                raise
        return verified(Path(download()), self.cache_dir)

    def fetch_tokenizer(self) -> Path:
        """The folder with the files of the tokenizer, if the model has its own."""
        return Path(
            snapshot_download(
                self.repository,
                revision=self.revision,
                cache_dir=str(self.cache_dir),
                allow_patterns=list(TOKENIZER_FILES),
                local_files_only=not is_online(),
            )
        )


def noting(file: Path) -> type[Any]:
    """A progress bar for the hub's client that also tells how far `file` is (`arriving`)."""

    class Noting(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            file.parent.mkdir(parents=True, exist_ok=True)
            begun = int(options.get("initial") or 0)
            self._note = Arriving(file, int(options.get("total") or 0), begun)
            super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            self._note.add(int(n or 0))
            shown: bool | None = super().update(n)
            return shown

        def close(self) -> None:
            self._note.close()
            super().close()

    return Noting


def verified(file: Path, cache_dir: Path) -> Path:
    """`file` again, as the hub's client has just fetched it.

    The client checks its size. It stores a large file under the SHA-256 that the hub tells, so this
    compares the two. Raises Damaged, and removes the file, if they differ.
    """
    stored = file.resolve()
    if not re.fullmatch("[0-9a-f]{64}", stored.name):
        return file  # a small file, whose name is no digest of its content
    if (found := content_hash(file, cache_dir)) != stored.name:
        stored.unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        raise Damaged(
            f"{file.name} has the SHA-256 {found}, and the hub announced {stored.name}: it was "
            "damaged on its way, and is removed; try again"
        )
    return file


def first_of(hub: Hub, candidates: Iterable[str], what: str) -> Path:
    """The first of `candidates` that the repository has."""
    failure: Exception | None = None
    for candidate in candidates:
        try:
            return hub.fetch(candidate)
        except Damaged:
            raise
        except Exception as error:
            failure = error
    assert failure is not None
    raise unreachable(what, hub.cache_dir, failure) from None


def is_online() -> bool:
    """Whether the hub can be asked at all.

    Its client tries for half a minute before it gives up on a machine without a network; a
    name that does not resolve says so at once. Behind a proxy names need not resolve here.
    """
    if constants.HF_HUB_OFFLINE:
        return False
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None)
    except OSError:
        return False
    return True


def unfit(file: Path, name: str, cause: str) -> ModelError:
    """The weights in a file that are not those of the model."""
    return ModelError(
        f"the weights {file} cannot be loaded into {name!r} ({' '.join(cause.split())[:300]}): "
        "check that spec.model.name is their architecture, and that the file is whole "
        "(safetensors, or a torch file of tensors alone)"
    )


def unreachable(what: str, cache_dir: Path, error: Exception) -> WeightsUnreachable:
    """Raises the ImportError behind the error, if there is one: then the hub was not asked."""
    if (missing := failed_import(error)) is not None:
        raise missing
    return WeightsUnreachable(
        f"cannot fetch the weights of {what} ({why_unreachable(error)}) and they are not in "
        f"{cache_dir}: allow access to the hub, or copy them by `lookalike weights pull` where it "
        "can be reached, and name the copy in spec.model.weights"
    )


def why_unreachable(error: Exception) -> str:
    """Why the hub did not provide a file, in one line."""
    if not is_online():
        return "there is no network"
    return " ".join(str(error).split())[:200] or type(error).__name__
