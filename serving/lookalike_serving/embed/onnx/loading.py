"""Graphs -> an `Embedder`: inputs, types and layouts are found out, and checked, at load."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookalike_crds.image_collection import Distance, ModelSpec, Provider
from lookalike_serving.embed import context
from lookalike_serving.embed.execution.source import Source, Ways
from lookalike_serving.embed.execution.ways import Execution, Way
from lookalike_serving.embed.fingerprint import fingerprint
from lookalike_serving.embed.onnx.files import Files, files_of, parts_of
from lookalike_serving.embed.onnx.graph import TYPES, Graph, device_of, ways
from lookalike_serving.embed.preparation import EXAMPLE, PREPROCESSOR, preparation
from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.embed.protocol import (
    Box,
    EmbedderInfo,
    ModelError,
    ModelUnavailable,
    Pixels,
    Tensor,
    Vectors,
)
from lookalike_serving.embed.weights import content_hash

log = logging.getLogger("lookalike.models")

_PIXELS = (np.float32, np.float16, np.uint8)
_TOKENS = (np.int64, np.int32)
_CONTEXT = 77
_LONGEST = 8192


def read_onnx(spec: ModelSpec, cache_dir: Path) -> OnnxSource:
    """Raises ModelError, which says what was found in a graph that does not fit."""
    files = files_of(spec)
    reference = ways().available[0]
    image = ImageTower(files, reference)
    text = TextTower(files, image.dimension, reference) if files.text is not None else None
    name = spec.name or files.image.stem
    digest = hashlib.sha256()
    size = 0
    for graph in filter(None, (files.image, files.text)):
        for part in parts_of(graph):
            digest.update(f"{part.name} {content_hash(part, cache_dir)}\n".encode())
            size += part.stat().st_size
    if files.tokenizer is not None and text is not None:
        digest.update(content_hash(files.tokenizer, cache_dir).encode())
    by_words = "finds pictures by picture and by words"
    info = EmbedderInfo(
        provider=Provider.ONNX,
        name=name,
        weights=spec.weights,
        fingerprint=fingerprint(Provider.ONNX, name, digest.hexdigest(), image.preprocessing),
        dimension=image.dimension,
        image_size=max(image.preprocessing.height, image.preprocessing.width),
        min_side=image.preprocessing.min_side,
        device="cpu",
        precision=np.dtype(image.type).name,
        distance_hint=Distance.COSINE,
        logit_scale=None,
        supports_text=text is not None,
        ability=by_words if text else "finds similar pictures; knows no words",
        bytes=size,
    )
    return OnnxSource(files, info, image, text)


@dataclass(slots=True)
class OnnxSource(Source):
    """Graphs that were checked; the CPU's are loaded already."""

    files: Files
    info: EmbedderInfo
    image: ImageTower
    text: TextTower | None

    @property
    def device(self) -> str:
        return "cuda" if any(device_of(way) == "cuda" for way in ways().available) else "cpu"

    def ways(self) -> Ways:
        return ways()

    def estimate(self) -> Way:
        """The GPU if there is one that works."""
        for way in ways().available:
            if device_of(way) == "cuda":
                try:
                    ImageTower(self.files, way)
                except ModelError as error:
                    log.warning("%s is left out: %s", way, error)
                else:
                    return way
        return ways().available[0]

    def embedder(self, execution: Execution) -> OnnxEmbedder:
        image, text = self.image, self.text
        if execution.image != image.graph.way:
            image = ImageTower(self.files, execution.image)
        if text is not None and execution.text not in (None, text.graph.way):
            assert execution.text is not None
            text = TextTower(self.files, image.dimension, execution.text)
        device = device_of(execution.image)
        return OnnxEmbedder(replace(self.info, device=device, execution=execution), image, text)

    def copy(self) -> OnnxSource:
        return self


class ImageTower:
    """(n, 3, h, w) uint8 -> (n, d)."""

    def __init__(self, files: Files, way: Way) -> None:
        self.graph = first = Graph(files.image, way)
        if len(first.inputs) != 1:
            raise ModelError(
                f"an image graph has one input ({first.found}): export the image part alone; a "
                "text part is a graph of its own"
            )
        node = first.inputs[0]
        shape = list(node.shape)
        self.type = TYPES.get(node.type)
        if self.type not in _PIXELS or len(shape) != 4:
            raise ModelError(
                f"an image graph reads float32, float16 or uint8 of shape (n, 3, h, w) or "
                f"(n, h, w, 3) ({first.found})"
            )
        self.input = node.name
        self.last = shape[3] == 3 and shape[1] != 3
        channels, size = (shape[3], shape[1:3]) if self.last else (shape[1], shape[2:4])
        if isinstance(channels, int) and channels != 3:
            raise ModelError(f"the image graph does not read RGB, 3 channels ({first.found})")
        self.batch = shape[0] if isinstance(shape[0], int) else None
        if self.batch not in (None, 1):
            raise ModelError(
                f"the image graph reads batches of {self.batch} alone ({first.found}): export it "
                "with a batch that may vary"
            )
        self.preprocessing = self._prepared(files, size, first)
        height, width = self.preprocessing.height, self.preprocessing.width
        for wanted, has in zip(size, (height, width), strict=True):
            if isinstance(wanted, int) and wanted != has:
                raise ModelError(
                    f"{files.preprocessor} makes pictures of {height} x {width}, and the graph "
                    f"reads others ({first.found}): correct one of them"
                )
        n = self.batch or 2
        example = {self.input: self._laid_out(np.zeros((n, 3, height, width), np.uint8))}
        self.dimension = first.settle(example, n)

    def _prepared(self, files: Files, size: list[Any], graph: Graph) -> Preprocessing:
        if files.preprocessor is not None:
            return preparation(files.preprocessor)
        height, width = size
        if self.type is np.uint8 and isinstance(height, int) and isinstance(width, int):
            zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
            return Preprocessing(height=height, width=width, mean=zero, std=one)
        raise ModelError(
            f"there is no {PREPROCESSOR} beside {files.image}, which says how pictures are "
            f"prepared ({graph.found}): add the one of the model, such as {EXAMPLE}"
        )

    def _laid_out(self, pixels: Any) -> Any:
        if self.type is not np.uint8:
            mean = np.array(self.preprocessing.mean, np.float32).reshape(1, 3, 1, 1)
            std = np.array(self.preprocessing.std, np.float32).reshape(1, 3, 1, 1)
            pixels = ((pixels.astype(np.float32) / 255 - mean) / std).astype(self.type)
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1) if self.last else pixels)

    def __call__(self, pixels: Any) -> Any:
        given = self._laid_out(pixels)
        groups = [given] if self.batch is None else [given[i : i + 1] for i in range(len(given))]
        return np.concatenate([self.graph.vectors({self.input: each}) for each in groups])


class TextTower:
    """Texts -> (n, d)."""

    def __init__(self, files: Files, dimension: int, way: Way) -> None:
        from tokenizers import Tokenizer

        assert files.text is not None
        assert files.tokenizer is not None
        self.graph = Graph(files.text, way)
        self.inputs = {each.name: TYPES.get(each.type) for each in self.graph.inputs}
        shapes = [list(each.shape) for each in self.graph.inputs]
        kinds = [_kind(name) for name in self.inputs]
        if (
            not set(self.inputs.values()) <= set(_TOKENS)
            or any(len(shape) != 2 for shape in shapes)
            or sorted(kinds) != sorted(set(kinds))
            or "ids" not in kinds
        ):
            raise ModelError(
                "a text graph reads token ids, int64 or int32 of shape (n, length), and perhaps "
                f"an attention mask and token types ({self.graph.found})"
            )
        try:
            self.tokenizer = Tokenizer.from_file(str(files.tokenizer))
        except Exception as error:
            cause = " ".join(str(error).split())[:200]
            raise ModelError(f"{files.tokenizer} is no tokenizer ({cause})") from None
        config = _read(files.tokenizer.with_name("tokenizer_config.json"))
        fixed = shapes[0][1] if isinstance(shapes[0][1], int) else None
        padding = self.tokenizer.padding or {}
        token = padding.get("pad_token") or _token(config.get("pad_token")) or "[PAD]"
        pad = padding.get("pad_id", self.tokenizer.token_to_id(token) or 0)
        stated = (self.tokenizer.truncation or {}).get("max_length") or config.get(
            "model_max_length"
        )
        longest = int(stated) if stated and stated <= _LONGEST else _CONTEXT
        self.context = fixed or longest
        self.tokenizer.enable_truncation(self.context)
        self.tokenizer.enable_padding(pad_id=pad, pad_token=token, length=fixed)
        self.batch = shapes[0][0] if isinstance(shapes[0][0], int) else None
        if self.batch not in (None, 1):
            raise ModelError(
                f"the text graph reads batches of {self.batch} alone ({self.graph.found}): export "
                "it with a batch that may vary"
            )
        n = self.batch or 2
        found = self.graph.settle(self._tokens(["red", "blue"][:n]), n)
        if found != dimension:
            raise ModelError(
                f"the text graph gives {found} numbers and the image graph {dimension}: they are "
                f"not of one model ({self.graph.found})"
            )

    def left_out(self, text: str) -> str:
        """The end of `text` that the graph does not read; empty if it reads all of it."""
        return context.left_out(text, lambda part: self.tokenizer.encode(part).ids, self.context)

    def _tokens(self, texts: list[str]) -> dict[str, Any]:
        encoded = self.tokenizer.encode_batch(texts)
        parts = {
            "ids": [each.ids for each in encoded],
            "mask": [each.attention_mask for each in encoded],
            "types": [each.type_ids for each in encoded],
        }
        return {name: np.array(parts[_kind(name)], kind) for name, kind in self.inputs.items()}

    def __call__(self, texts: list[str]) -> Any:
        groups = [texts] if self.batch is None else [[text] for text in texts]
        return np.concatenate([self.graph.vectors(self._tokens(each)) for each in groups])


class OnnxEmbedder:
    """Graphs behind the `Embedder` protocol."""

    def __init__(self, info: EmbedderInfo, image: ImageTower, text: TextTower | None) -> None:
        self._info, self._image, self._text = info, image, text

    @property
    def info(self) -> EmbedderInfo:
        return self._info

    @property
    def preprocessing(self) -> Preprocessing:
        return self._image.preprocessing

    def preprocess(self, image: Pixels, box: Box | None = None) -> Tensor:
        return self.preprocessing(image, box)

    def embed_pixels(self, batch: Sequence[Tensor]) -> Vectors:
        """(n, d) float32, L2-normalised. Raises ModelError."""
        if not batch:
            return np.zeros((0, self._info.dimension), np.float32)
        return self._unit(self._image(np.stack(batch)))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """(n, d) float32, L2-normalised. Texts longer than the model's context are cut."""
        if self._text is None:
            raise ModelError(f"{self._info.name} knows no words: search with an image")
        if not texts:
            return np.zeros((0, self._info.dimension), np.float32)
        return self._unit(self._text(list(texts)))

    def unknown_words(self, text: str) -> list[str]:
        return []

    def understands(self, text: str) -> bool:
        return True

    def left_out(self, text: str) -> str:
        return self._text.left_out(text) if self._text is not None else ""

    def _unit(self, vectors: Any) -> Vectors:
        if not np.isfinite(vectors).all():
            raise ModelUnavailable(f"{self._info.name} gave numbers that are not finite")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def _kind(name: str) -> str:
    return "mask" if "mask" in name else "types" if "type" in name else "ids"


def _read(file: Path) -> dict[str, Any]:
    try:
        said = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _token(said: Any) -> str | None:
    """A special token, written as a text or as an object with one."""
    said = said.get("content") if isinstance(said, dict) else said
    return said if isinstance(said, str) else None
