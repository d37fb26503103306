"""The vocabulary: a way to compute, what was measured of it, and what was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TORCH = "torch"
COMPILE = "torch.compile"
ONNX_RUNTIME = "onnxruntime"
OPENVINO = "openvino"


@dataclass(frozen=True, slots=True)
class Way:
    engine: str
    """`torch`, `torch.compile`, `onnxruntime`, `openvino`; for an execution provider of ONNX
    Runtime other than the CPU's also its name, such as `onnxruntime CUDA`."""
    precision: str
    """FP32, BF16, FP16; of an ONNX graph the type that it computes in."""

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


class ChosenBy(StrEnum):
    SPEC = "Spec"
    """The resource names the precision."""
    ESTIMATE = "Estimate"
    """A few calls when the model was loaded."""
    MEASUREMENT = "Measurement"
    """All ways were measured on this kind of machine."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was measured of one way. Of two, the one that is faster by a margin is chosen."""

    way: Way
    image_ms: tuple[float, ...] = ()
    """Milliseconds for each image at the batch sizes `BATCHES`; on a CPU, processor time."""
    text_ms: tuple[float, ...] = ()
    image_cosine: float | None = None
    """The least cosine to the vectors in FP32, over all sample images."""
    text_cosine: float | None = None
    left_out: str | None = None
    """Why it was not measured, or not to the end."""


@dataclass(frozen=True, slots=True)
class Execution:
    """The ways that a model's two towers take."""

    image: Way
    text: Way | None
    chosen_by: ChosenBy
    trials: tuple[Trial, ...] = ()

    @property
    def engines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(way.engine for way in (self.image, self.text) if way))

    def __str__(self) -> str:
        if self.text is None or self.text == self.image:
            return str(self.image)
        return f"{self.image} for images, {self.text} for texts"


BATCHES = (1, 8)
