"""What the rest of the service may ask of an embedding model.

Images reach a model in two steps, so that the first can run on many threads and the second
in batches: `preprocess` (one decoded image -> the model's pixel tensor, thread-safe, releases
the interpreter if it can) and `embed_pixels` (a batch -> vectors, one call at a time).
Index and query use the same two steps: there is no second preprocessing anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike_crds import failures
from lookalike_crds.failures import FailureKind
from lookalike_crds.image_collection import Distance
from lookalike_serving.embed.execution.ways import Execution

Pixels = NDArray[np.uint8]
"""(h, w, 3) uint8 RGB, as decoded."""
Box = tuple[float, float, float, float]
Tensor = NDArray[Any]
"""(3, s, s): the input of the model; float32 or uint8, as the model needs it."""
Vectors = NDArray[np.float32]
"""(n, d) float32, L2-normalised if the distance is cosine."""


class ModelError(Exception):
    """The model cannot be loaded or run; the message names the model and the remedy."""

    failure_kind: ClassVar[FailureKind] = failures.MODEL_NOT_LOADED


class ModelUnavailable(ModelError):
    """The model was loaded, and failed while it ran."""

    failure_kind = failures.MODEL_UNAVAILABLE


class WeightsUnreachable(ModelError):
    """The hub that has the weights does not give them: trying again later may help."""

    failure_kind = failures.WEIGHTS_UNREACHABLE


class PackageMissing(ModelError):
    """A Python package that the provider needs is not installed; the message says how it is."""

    failure_kind = failures.PACKAGE_MISSING


class WeightsNotFound(ModelError):
    """There are no weights, or not where they were said to be.

    Random ones are never used instead.
    """

    failure_kind = failures.WEIGHTS_NOT_FOUND


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    provider: str
    name: str
    weights: str | None
    fingerprint: str
    """Hex digest of what determines vectors: provider, name, weights' content, preprocessing.
    Precision and device are not part of it: vectors agree closely enough across them."""
    dimension: int
    image_size: int
    """The side of the square that the model sees, in pixels."""
    min_side: int
    """Decoders may scale down to no less than this, pixels: more than `image_size`, so that it
    hardly moves the vector (bench/decode.py)."""
    device: str
    precision: str
    distance_hint: Distance
    logit_scale: float | None
    supports_text: bool
    ability: str
    """What the model can and cannot do, as half a sentence whose subject is the model."""
    execution: Execution | None = None
    """How it computes; None if the provider gives no choice."""
    bytes: int = 0
    """Of its weights in memory, in FP32; 0 if it is not known."""
    pooling: str | None = None
    """How the parts of a picture are combined into one vector, if the provider says it."""


class Preprocess(Protocol):
    """What `Embedder.preprocess` does. It can be pickled and used by a process without the
    model."""

    def __call__(self, image: Pixels, box: Box | None = None) -> Tensor: ...


class Embedder(Protocol):
    @property
    def info(self) -> EmbedderInfo: ...

    def preprocess(self, image: Pixels, box: Box | None = None) -> Tensor:
        """`box`: what of the pixels the picture takes (left, top, right, bottom); None: all."""
        ...

    def embed_pixels(self, batch: Sequence[Tensor]) -> Vectors: ...

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Raises ModelError if `info.supports_text` is false."""
        ...

    def unknown_words(self, text: str) -> list[str]:
        """Words the model has never seen and ignores; empty for subword tokenizers."""
        ...

    def understands(self, text: str) -> bool:
        """Whether it knows any word of `text`; if not, the text's vector means nothing."""
        ...

    def left_out(self, text: str) -> str:
        """The end of `text` that the model does not read, because the text is longer than its
        context; empty if it reads all of it. Any thread may call it at any time."""
        ...
