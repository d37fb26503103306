"""The files of a model as ONNX graphs: which ones there are, and what they must be called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.naming import check_file, file_in, local_place
from lookalike_serving.embed.preparation import PREPROCESSOR
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound
from lookalike_serving.embed.provider import ModelFiles

IMAGE_GRAPHS = ("vision_model.onnx", "visual.onnx", "image.onnx", "model.onnx")
TEXT_GRAPHS = ("text_model.onnx", "textual.onnx", "text.onnx")
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Files:
    image: Path
    text: Path | None
    preprocessor: Path | None
    """Says how a picture is prepared, as transformers writes it."""
    tokenizer: Path | None
    """Beside a text graph."""


def files_of(spec: ModelSpec) -> Files:
    """Raises WeightsNotFound, or ModelError, if something is missing. Reads none of them."""
    name, said = spec.name or "", spec.weights or ""
    place = local_place(
        said,
        "provider Onnx reads an .onnx file, or a folder with one, which `lookalike weights` may "
        "have copied to a bucket or a registry",
    )
    if not place.is_dir():
        check_file(name, place)
        return Files(place, None, file_in(place.parent, PREPROCESSOR), None)
    folders = (place, place / "onnx")
    image = _first(folders, IMAGE_GRAPHS)
    if image is None:
        raise WeightsNotFound(
            f"weights of {name!r}: the folder {place} has none of {', '.join(IMAGE_GRAPHS)}, and "
            "no folder onnx with one: add the graph, or name its file"
        )
    text = _first(folders, TEXT_GRAPHS)
    tokenizer = file_in(place, TOKENIZER)
    if text is not None and tokenizer is None:
        raise WeightsNotFound(
            f"weights of {name!r}: {text} reads tokens, and {place} has no {TOKENIZER}: add the "
            "one of the model"
        )
    return Files(image, text, file_in(place, PREPROCESSOR), tokenizer)


def published(spec: ModelSpec) -> ModelFiles:
    """The model as a folder. Raises WeightsNotFound, or ModelError."""
    found = files_of(spec)
    parts = parts_of(found.image)
    files: dict[str, Path | str] = {part.name: part for part in parts}
    if found.image.name not in IMAGE_GRAPHS:
        if len(parts) > 1:  # a graph names the files of its tensors, and these its own
            raise ModelError(
                f"{found.image} has its tensors in other files: export it as {IMAGE_GRAPHS[-1]}"
            )
        files = {IMAGE_GRAPHS[-1]: found.image}
    if found.text is not None:
        files |= {part.name: part for part in parts_of(found.text)}
    for each in (found.preprocessor, found.tokenizer):
        if each is not None:
            files[each.name] = each
    return ModelFiles(spec.name or found.image.stem, files)


def parts_of(graph: Path) -> list[Path]:
    """The graph's file, and those that hold its tensors: `model.onnx_data`, `model.onnx.data`."""
    return sorted(each for each in graph.parent.glob(f"{graph.name}*") if each.is_file())


def _first(folders: tuple[Path, ...], names: tuple[str, ...]) -> Path | None:
    places = (folder / name for name in names for folder in folders)
    return next((place for place in places if place.is_file()), None)
