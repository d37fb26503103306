"""A torch model that was read: in FP32, and not yet on its device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from lookalike_serving.embed.execution.source import Source, Ways
from lookalike_serving.embed.execution.towers import (
    Part,
    encoder,
    engines,
    openvino_precisions,
)
from lookalike_serving.embed.execution.ways import (
    COMPILE,
    ONNX_RUNTIME,
    OPENVINO,
    TORCH,
    Execution,
    Way,
)
from lookalike_serving.embed.layout import layout_of
from lookalike_serving.embed.precision import quickest
from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.embed.protocol import EmbedderInfo
from lookalike_serving.embed.torch_embedder import TextTower, TorchEmbedder

Parts = Callable[[nn.Module], tuple[Part, Part | None]]
"""The image tower and the text tower of the model; some models have no text tower."""
_LARGEST_EXPORT = 1_900_000_000
"""Bytes; a larger ONNX graph does not fit into one file."""


@dataclass(slots=True)
class TorchSource(Source):
    model: nn.Module
    parts: Parts
    text: TextTower | None
    """Its `encode` is replaced by the one of the engine, behind `cut`."""
    preprocessing: Preprocessing
    info: EmbedderInfo
    cache_dir: Path

    @property
    def size(self) -> int:
        return sum(each.numel() * each.element_size() for each in self.model.parameters())

    def ways(self) -> Ways:
        precisions = ("FP32", "BF16", "FP16")
        there = engines(self.device)
        missing = {engine: remedy for engine, remedy in there.items() if remedy is not None}
        ways = [Way(TORCH, each) for each in precisions]
        if self.device == "cpu":
            if there[OPENVINO] is None:
                ways += [Way(OPENVINO, each) for each in openvino_precisions()]
            if there[ONNX_RUNTIME] is None and self.size < _LARGEST_EXPORT:
                ways.append(Way(ONNX_RUNTIME, "FP32"))
        if there[COMPILE] is None:
            ways += [Way(COMPILE, each) for each in precisions[: 2 if self.device == "cpu" else 3]]
        return Ways(tuple(ways), missing)

    def estimate(self) -> Way:
        image, _ = self.parts(self.model)
        size = (self.preprocessing.height, self.preprocessing.width)
        precision = quickest(image.weights, torch.device(self.device), size, self.fingerprint)
        return Way(TORCH, precision.value)

    def embedder(self, execution: Execution) -> TorchEmbedder:
        size = self.size
        image, text = self.parts(self.model)
        place = self.cache_dir / "tuned" / self.fingerprint[:32]
        device = torch.device(self.device)
        if text is not None and execution.text is not None and self.text is not None:
            # First, because its weights may include those of the image tower.
            encode = encoder(text, execution.text, place, device)
            tower = replace(self.text, encode=encode)
        else:
            tower = None
        encode_image = encoder(image, execution.image, place, device)
        embedder = TorchEmbedder(
            encode_image=encode_image,
            text=tower,
            preprocessing=self.preprocessing,
            info=replace(
                self.info, precision=execution.image.precision, execution=execution, bytes=size
            ),
            layout=layout_of(image.weights),
        )
        # The first call of a tower takes much longer than the next.
        with torch.inference_mode():
            encode_image(image.example[:1].to(device))
        if tower is not None:
            embedder.embed_texts(["warm"])
        return embedder

    def copy(self) -> TorchSource:
        return replace(self, model=copy.deepcopy(self.model))
