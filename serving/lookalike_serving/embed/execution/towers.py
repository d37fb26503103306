"""A tower of a torch model, bound to a way of computing.

Torch computes it as it is (`torch`), or after compiling it (`torch.compile`); other engines read a
copy of it in their own form, which is made once and kept beside what was measured:

    <cache folder>/tuned/<fingerprint>-<tower>.openvino/model.xml, model.bin
    <cache folder>/tuned/<fingerprint>-<tower>.onnx/model.onnx
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lookalike_serving.embed.execution.sessions import onnx_runtime_session, openvino_model
from lookalike_serving.embed.execution.ways import COMPILE, ONNX_RUNTIME, OPENVINO, TORCH, Way
from lookalike_serving.embed.layout import layout_of, turn_weights

Encoder = Callable[[torch.Tensor], torch.Tensor]
DTYPES = {"FP32": torch.float32, "BF16": torch.bfloat16, "FP16": torch.float16}
INSTALL = {
    OPENVINO: "pip install 'lookalike[openvino]'",
    ONNX_RUNTIME: "pip install 'lookalike[onnx]' onnx",
}


class Tower(nn.Module):
    """What an engine computes: one tensor in, (n, d) out, of any n."""

    def __init__(self, model: nn.Module, call: Encoder) -> None:
        super().__init__()
        self.model = model
        self._call = call

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self._call(given)


@dataclass(frozen=True, slots=True)
class Part:
    """One tower with what engines must know of it."""

    name: str
    """`image` or `text`."""
    weights: nn.Module
    """The module whose parameters it computes with."""
    call: Encoder
    example: torch.Tensor
    """An input; texts with their whole context."""
    varies: tuple[int, ...]
    """The dimensions of its input that may vary."""


def encoder(part: Part, way: Way, place: Path, device: torch.device) -> Encoder:
    """The tower, computed in this way; it takes float32 images, or int64 tokens, on `device`.

    Changes the type and layout of the tower's weights in place. Raises what the engine raises.
    """
    match way.engine:
        case "torch":
            return _cast(part, _settled(part, way, device).forward, way)
        case "torch.compile":
            tower = _settled(part, way, device)
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(place / "inductor"))
            return _cast(part, torch.compile(tower, dynamic=True), way)
        case "openvino":
            return _openvino(part, way, place)
        case "onnxruntime":
            return _onnx_runtime(part, place)
    raise ValueError(f"there is no engine {way.engine!r}")


def engines(device: str) -> dict[str, str | None]:
    """Engines other than torch: None if one is installed, else how it is."""
    found: dict[str, str | None] = {COMPILE: None}
    if device == "cpu":
        if not any(map(shutil.which, ("g++", "clang++"))):
            found[COMPILE] = "install a C++ compiler, such as g++"
        found[ONNX_RUNTIME] = _missing(ONNX_RUNTIME, "onnxruntime", "onnx")
        found[OPENVINO] = _missing(OPENVINO, "openvino")
    return found


def _missing(engine: str, *modules: str) -> str | None:
    return None if all(map(find_spec, modules)) else INSTALL[engine]


def openvino_precisions() -> tuple[str, ...]:
    """Those that OpenVINO says it computes in on this CPU."""
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(each for each in DTYPES if each in able)


def _settled(part: Part, way: Way, device: torch.device) -> Tower:
    dtype = DTYPES[way.precision]
    part.weights.to(device=device, dtype=dtype)
    if part.name == "image":
        part.weights.to(memory_format=layout_of(part.weights))
    if dtype is torch.float32 and device.type == "cpu" and way.engine == TORCH:
        turn_weights(part.weights)
    return Tower(part.weights, part.call)


def _cast(part: Part, call: Encoder, way: Way) -> Encoder:
    dtype = DTYPES[way.precision]
    if part.name == "text" or dtype is torch.float32:
        return call
    return lambda given: call(given.to(dtype))


def _openvino(part: Part, way: Way, place: Path) -> Encoder:
    folder = place / f"{part.name}.openvino"
    if not folder.is_dir():
        import openvino

        with _made(folder) as scratch, _traceable():
            shape = [-1 if n in part.varies else size for n, size in enumerate(part.example.shape)]
            model = openvino.convert_model(
                Tower(part.weights, part.call), example_input=part.example, input=[shape]
            )
            openvino.save_model(model, scratch / "model.xml", compress_to_fp16=False)
    compiled = openvino_model(folder / "model.xml", way.precision)
    return lambda given: torch.from_numpy(compiled(given.numpy())[0].copy())


def _onnx_runtime(part: Part, place: Path) -> Encoder:
    folder = place / f"{part.name}.onnx"
    if not folder.is_dir():
        with _made(folder) as scratch, _traceable():
            torch.onnx.export(
                Tower(part.weights, part.call),
                (part.example,),
                str(scratch / "model.onnx"),
                dynamo=False,
                input_names=["given"],
                output_names=["vectors"],
                dynamic_axes={"given": {0: "n"}, "vectors": {0: "n"}},
            )
    session = onnx_runtime_session(folder / "model.onnx", "CPUExecutionProvider")

    def run(given: torch.Tensor) -> torch.Tensor:
        if part.name == "text":
            # The exporter fixes the length of texts that attention was traced with.
            given = functional.pad(given, (0, part.example.shape[1] - given.shape[1]))
        return torch.from_numpy(session.run(None, {"given": given.numpy()})[0])

    return run


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A scratch folder that becomes `folder` if all goes well."""
    scratch = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.part")
    scratch.mkdir(parents=True)
    try:
        yield scratch
        with contextlib.suppress(OSError):  # another process was faster
            scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """Without torch's fused attention, which is no operator of any other engine."""
    mha: Any = torch.backends.mha
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        mha.set_fastpath_enabled(before)
