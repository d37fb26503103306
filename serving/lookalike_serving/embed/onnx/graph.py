"""One ONNX graph: what it reads and gives, found out and checked before it is used.

A graph states the names, types and shapes of its inputs, and which of them may vary. What it does
not state – which output is the vector – a run with zeros tells. An error says what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lookalike_serving.embed.execution.sessions import onnx_runtime_session, openvino_model
from lookalike_serving.embed.execution.source import Ways
from lookalike_serving.embed.execution.towers import (
    INSTALL,
    openvino_precisions,
)
from lookalike_serving.embed.execution.ways import ONNX_RUNTIME, OPENVINO, Way
from lookalike_serving.embed.protocol import ModelError

TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}
_VECTORS = (
    "image_embeds",
    "text_embeds",
    "embeds",
    "embedding",
    "embeddings",
    "pooler_output",
)
"""Names of the output that is the vector, if several have its shape."""
_SUFFIX = "ExecutionProvider"
_ACCELERATED = ("CUDA", "OpenVINO")
_OPENVINO_TYPES = {
    "f32": "tensor(float)",
    "f16": "tensor(float16)",
    "u8": "tensor(uint8)",
    "i64": "tensor(int64)",
    "i32": "tensor(int32)",
}


@dataclass(frozen=True, slots=True)
class Node:
    """An input or output; a dimension that may vary is None or a name."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


class Session(Protocol):
    """A graph, loaded by an engine."""

    inputs: list[Node]
    outputs: list[Node]

    def run(self, outputs: list[str], given: dict[str, Any]) -> list[NDArray[Any]]: ...


class OnnxRuntimeSession:
    def __init__(self, file: Path, provider: str) -> None:
        """`provider`: CPU, CUDA, OpenVINO."""
        self._session = onnx_runtime_session(file, f"{provider}{_SUFFIX}")
        if f"{provider}{_SUFFIX}" not in self._session.get_providers():
            raise ModelError(f"ONNX Runtime falls back to the CPU: {provider} does not work here")
        self.inputs = [Node(n.name, n.type, tuple(n.shape)) for n in self._session.get_inputs()]
        self.outputs = [Node(n.name, n.type, tuple(n.shape)) for n in self._session.get_outputs()]

    def run(self, outputs: list[str], given: dict[str, Any]) -> list[NDArray[Any]]:
        return list(self._session.run(outputs, given))


class OpenVinoSession:
    def __init__(self, file: Path, precision: str) -> None:
        self._compiled = openvino_model(file, precision)
        self.inputs = [_node_of(each) for each in self._compiled.inputs]
        self.outputs = [_node_of(each) for each in self._compiled.outputs]

    def run(self, outputs: list[str], given: dict[str, Any]) -> list[NDArray[Any]]:
        results = self._compiled(given)
        return [np.array(results[name]) for name in outputs]


def _node_of(port: Any) -> Node:
    kind = port.get_element_type().get_type_name()
    shape = tuple(
        None if each.is_dynamic else each.get_length() for each in port.get_partial_shape()
    )
    return Node(port.get_any_name(), _OPENVINO_TYPES.get(kind, kind), shape)


class Graph:
    def __init__(self, file: Path, way: Way) -> None:
        """Raises ModelError if the file is no graph that the engine can run."""
        self.file, self.way = file, way
        try:
            self.session = _session(file, way)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"{file} cannot be read as an ONNX graph ({_one_line(error)}): check that the file "
                "is whole, with the files of its tensors beside it"
            ) from None
        self.inputs = self.session.inputs
        self._output: str | None = None

    @property
    def found(self) -> str:
        """Its inputs and outputs in words."""
        told = "; ".join(
            f"{what} {', '.join(_told(each) for each in nodes)}"
            for what, nodes in (("inputs", self.inputs), ("outputs", self.session.outputs))
        )
        return f"found in {self.file}: {told}"

    def settle(self, example: Mapping[str, Any], n: int) -> int:
        """Find the output that is the vector, by a run with n examples; its dimension."""
        names = [each.name for each in self.session.outputs]
        results = dict(zip(names, self._run(names, example), strict=True))
        fitting = [k for k, v in results.items() if v.ndim == 2 and len(v) == n]
        preferred = [name for name in _VECTORS if name in fitting] or fitting
        if not fitting or (len(fitting) > 1 and preferred == fitting):
            shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in results.items())
            what = "no output" if not fitting else "more than one output"
            raise ModelError(
                f"{what} of the graph is one vector for each of {n} (a run gave {shapes}; "
                f"{self.found}): export it with one output of shape (n, d), or call it "
                f"{_VECTORS[0]}"
            )
        self._output = preferred[0]
        return int(results[self._output].shape[1])

    def vectors(self, given: Mapping[str, Any]) -> NDArray[np.float32]:
        """(n, d), not normalised."""
        assert self._output is not None
        (result,) = self._run([self._output], given)
        return np.asarray(result, np.float32)

    def _run(self, outputs: list[str], given: Mapping[str, Any]) -> list[NDArray[Any]]:
        try:
            return list(self.session.run(outputs, dict(given)))
        except Exception as error:
            raise ModelError(f"the graph cannot run ({_one_line(error)}; {self.found})") from error


def ways() -> Ways:
    """What a graph can be run with here. The CPU comes first: it is always there."""
    found = [Way(ONNX_RUNTIME, "as exported")]
    there = [each.removesuffix(_SUFFIX) for each in ort.get_available_providers()]
    found += [
        Way(f"{ONNX_RUNTIME} {each}", "as exported") for each in _ACCELERATED if each in there
    ]
    if find_spec("openvino") is None:
        return Ways(tuple(found), {OPENVINO: INSTALL[OPENVINO]})
    found += [Way(OPENVINO, each) for each in openvino_precisions()]
    return Ways(tuple(found))


def device_of(way: Way) -> str:
    return "cuda" if way.engine.endswith(" CUDA") else "cpu"


def _session(file: Path, way: Way) -> Session:
    if way.engine == OPENVINO:
        return OpenVinoSession(file, way.precision)
    return OnnxRuntimeSession(file, way.engine.removeprefix(ONNX_RUNTIME).strip() or "CPU")


def _told(node: Any) -> str:
    shape = ", ".join("?" if each is None else str(each) for each in node.shape)
    return f"{node.name} {node.type} ({shape})"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
