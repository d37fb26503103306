"""Any torch model behind the `Embedder` protocol, with a text tower or without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lookalike_serving.embed import context
from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.embed.protocol import Box, EmbedderInfo, ModelError, Pixels, Tensor, Vectors

Encoder = Callable[[torch.Tensor], torch.Tensor]
"""(n, 3, s, s) float32 normalised images, or (n, context) token ids -> (n, d); of any length."""
Tokenizer = Callable[[list[str]], torch.Tensor]
"""Texts -> (n, context) int64."""


def _knows_all(text: str) -> list[str]:
    return []


def _knows_some(text: str) -> bool:
    return True


def _whole(tokens: torch.Tensor) -> torch.Tensor:
    return tokens


@dataclass(frozen=True, slots=True)
class TextTower:
    """How a model reads words. The defaults are for tokenizers that can represent any text."""

    encode: Encoder
    tokenizer: Tokenizer
    cut: Encoder = _whole
    """Leaves away the columns of tokens that `encode` does not need."""
    unknown_words: Callable[[str], list[str]] = _knows_all
    understands: Callable[[str], bool] = _knows_some
    left_out: Callable[[str], str] | None = None
    """The end of a text that is not read; None if the tokenizer can be asked for it."""


class TorchEmbedder:
    """A model on one device; without a text tower it embeds only images.

    One call at a time, except `preprocess`, which any thread may call at any time.
    """

    def __init__(
        self,
        *,
        encode_image: Encoder,
        text: TextTower | None,
        preprocessing: Preprocessing,
        info: EmbedderInfo,
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._encode_image = encode_image
        self._text = text
        self._tokenizing = threading.Lock()  # a fast tokenizer serves one thread at a time
        self.preprocessing = preprocessing
        self._info = info
        self._layout = layout
        self._context: int | None = None
        self._device = torch.device(info.device)
        mean = torch.tensor(preprocessing.mean, device=self._device).view(1, 3, 1, 1)
        std = torch.tensor(preprocessing.std, device=self._device).view(1, 3, 1, 1)
        # (x / 255 - mean) / std, as one multiplication and one addition.
        self._scale, self._shift = 1 / (255 * std), -mean / std

    @property
    def info(self) -> EmbedderInfo:
        return self._info

    def preprocess(self, image: Pixels, box: Box | None = None) -> Tensor:
        """(h, w, 3) uint8 -> (3, s, s) uint8."""
        return self.preprocessing(image, box)

    def embed_pixels(self, batch: Sequence[Tensor]) -> Vectors:
        """(n, d) float32, L2-normalised. Raises ModelError if a number is not finite."""
        if not batch:
            return np.zeros((0, self._info.dimension), np.float32)
        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack(batch)).to(self._device)
            pixels = pixels.contiguous(memory_format=self._layout)
            images = pixels.float().mul_(self._scale).add_(self._shift)
            return self._unit(self._encode_image(images))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """(n, d) float32, L2-normalised. Texts longer than the model's context are cut."""
        if self._text is None:
            raise ModelError(f"{self._info.name} knows no words: search with an image")
        if not texts:
            return np.zeros((0, self._info.dimension), np.float32)
        with torch.inference_mode():
            tokens = self._text.cut(self._tokens(texts)).to(self._device)
            return self._unit(self._text.encode(tokens))

    def unknown_words(self, text: str) -> list[str]:
        return self._text.unknown_words(text) if self._text is not None else []

    def understands(self, text: str) -> bool:
        return self._text is not None and self._text.understands(text)

    def left_out(self, text: str) -> str:
        if self._text is None:
            return ""
        if self._text.left_out is not None:
            return self._text.left_out(text)
        if self._context is None:
            self._context = self._tokens(["x"]).shape[1]
        return context.left_out(text, lambda part: self._tokens([part])[0].tolist(), self._context)

    def _tokens(self, texts: Sequence[str]) -> torch.Tensor:
        assert self._text is not None
        with self._tokenizing:
            return self._text.tokenizer(list(texts))

    def _unit(self, features: torch.Tensor) -> Vectors:
        vectors = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"{self._info.name} gave numbers that are not finite in {self._info.precision}: "
                "set spec.model.precision to FP32 or BF16"
            )
        return np.asarray(vectors, np.float32)
