"""`weights.json`: which files a place holds, of which model."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lookalike_crds.image_collection import Provider
from lookalike_serving.embed.fetching import Damaged
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound

NAME = "weights.json"
LONGEST = 1024 * 1024
"""Bytes of a manifest."""


def _within(path: str) -> str:
    """A manifest from elsewhere must not write outside of the folder."""
    parts = PurePosixPath(path).parts
    if not parts or path != "/".join(parts) or path.startswith("/") or ".." in parts:
        raise ValueError("must be a path within the folder")
    if "\\" in path or ":" in path or not path.isprintable() or path == NAME:
        raise ValueError("is no name of a weights file")
    return path


class WeightsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, Field(max_length=512), AfterValidator(_within)]
    """Within the place, with `/`."""
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """`name` and `provider` are what a resource has to say to get the same vectors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    provider: Provider
    name: str
    origin: str | None = None
    """The `spec.model.weights` that the files were fetched by."""
    files: tuple[WeightsFile, ...] = Field(min_length=1, max_length=1000)

    @property
    def size(self) -> int:
        return sum(each.bytes for each in self.files)

    def written(self) -> bytes:
        return (self.model_dump_json(indent=2) + "\n").encode()


def read(content: bytes, where: str) -> Manifest:
    """Raises ModelError if it is no manifest; `where` is what messages call its place."""
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(
            f"{where} has a {NAME} that cannot be used: {at}: {first['msg']}. Write the place "
            "again with `lookalike weights pull` or `push`"
        ) from None


def missing(where: str) -> WeightsNotFound:
    return WeightsNotFound(
        f"{where} holds no {NAME}, so it is no place that `lookalike weights` has written: correct "
        f"the address, or write it with `lookalike weights push FOLDER --to {where}`"
    )


def described(path: str, file: Path) -> WeightsFile:
    """Reads the file. Raises OSError."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return WeightsFile(path=path, bytes=file.stat().st_size, sha256=digest)


def check(file: WeightsFile, at: Path) -> None:
    """Raises Damaged if the file at `at` is not the one of the manifest, and WeightsNotFound."""
    if not at.is_file():
        raise WeightsNotFound(f"{at} is missing, and {NAME} beside it names it: pull it again")
    found = described(file.path, at)
    if found != file:
        raise Damaged(
            f"{at} has {found.bytes} bytes and the SHA-256 {found.sha256}; its {NAME} says "
            f"{file.bytes} bytes and {file.sha256}: it was changed or damaged; pull it again"
        )
