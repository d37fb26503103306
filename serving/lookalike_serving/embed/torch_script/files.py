"""The files of a TorchScript model: the network, and how a picture is prepared for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.naming import check_file, file_in, local_place
from lookalike_serving.embed.preparation import PREPROCESSOR
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound
from lookalike_serving.embed.provider import ModelFiles

_SUFFIX = ".pt"
_MODEL = "model.torchscript.pt"
"""What the file is called in a copy of the model."""


@dataclass(frozen=True, slots=True)
class Files:
    network: Path
    preprocessor: Path | None
    """Says how a picture is prepared, as transformers writes it. None: as for SSCD."""


def files_of(spec: ModelSpec) -> Files:
    """Raises WeightsNotFound, or ModelError, if something is missing. Reads none of them."""
    name, said = spec.name or "", spec.weights or ""
    place = local_place(
        said,
        f"provider TorchScript reads a {_SUFFIX} file, or a folder with one. Download the file, "
        "and give its path or its address in a bucket",
    )
    if not place.is_dir():
        check_file(name, place)
        return Files(place, file_in(place.parent, PREPROCESSOR))
    found = sorted(each for each in place.glob(f"*{_SUFFIX}") if each.is_file())
    if not found:
        raise WeightsNotFound(
            f"weights of {name!r}: the folder {place} has no {_SUFFIX} file: add the TorchScript "
            "file, or correct spec.model.weights"
        )
    if len(found) > 1:
        raise ModelError(
            f"weights of {name!r}: the folder {place} has {len(found)} {_SUFFIX} files, such as "
            f"{found[0].name} and {found[1].name}: name one of them in spec.model.weights"
        )
    return Files(found[0], file_in(place, PREPROCESSOR))


def published(spec: ModelSpec) -> ModelFiles:
    """The model as a folder. Raises WeightsNotFound, or ModelError."""
    found = files_of(spec)
    files: dict[str, Path | str] = {_MODEL: found.network}
    if found.preprocessor is not None:
        files[PREPROCESSOR] = found.preprocessor
    return ModelFiles(spec.name or found.network.name.partition(".")[0], files)
