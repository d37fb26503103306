"""One ONNX graph: what it reads and gives, found out and checked before it is used.

A graph states the names, types and shapes of its inputs, and which of them may vary. What it does
not state – which output is the vector – a run with zeros tells. An error says what was found.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.machine.cpus import usable_cpus

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
CPU = "CPUExecutionProvider"
_ACCELERATED = ("CUDAExecutionProvider", "OpenVINOExecutionProvider")
_RUNS = 3

log = logging.getLogger(__name__)


class Graph:
    def __init__(self, file: Path, engine: str, threads: int | None = None) -> None:
        """Raises ModelError if the file is no graph that ONNX Runtime can run."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cpus()
        options.log_severity_level = 3
        self.file, self.engine = file, engine
        try:
            self.session = ort.InferenceSession(str(file), options, providers=[engine])
        except Exception as error:
            raise ModelError(
                f"{file} cannot be read as an ONNX graph ({_one_line(error)}): check that the file "
                "is whole, with the files of its tensors beside it"
            ) from None
        self.inputs = self.session.get_inputs()
        self._output: str | None = None

    @property
    def found(self) -> str:
        """Its inputs and outputs in words."""
        told = "; ".join(
            f"{what} {', '.join(_told(each) for each in nodes)}"
            for what, nodes in (("inputs", self.inputs), ("outputs", self.session.get_outputs()))
        )
        return f"found in {self.file}: {told}"

    def settle(self, example: Mapping[str, Any], n: int) -> int:
        """Find the output that is the vector, by a run with n examples; its dimension."""
        names = [each.name for each in self.session.get_outputs()]
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


def graphs_of(file: Path) -> dict[str, Graph]:
    """The graph on each engine that ONNX Runtime has here. Raises ModelError for the CPU alone:
    an engine may be installed for hardware that is not there."""
    graphs: dict[str, Graph] = {}
    for engine in ort.get_available_providers():
        if engine in _ACCELERATED:
            try:
                graphs[engine] = Graph(file, engine)
            except ModelError as error:
                log.warning("%s is left out: %s", engine, error)
    return {**graphs, CPU: Graph(file, CPU)}


def fastest(graphs: Mapping[str, Graph], given: Mapping[str, Any]) -> Graph:
    """The graph on the engine that took the least time. Each is settled already."""
    if len(graphs) == 1:
        return next(iter(graphs.values()))
    took: dict[str, float] = {}
    for engine, graph in graphs.items():
        graph.vectors(given)
        start = time.perf_counter()
        for _ in range(_RUNS):
            graph.vectors(given)
        took[engine] = (time.perf_counter() - start) / _RUNS
    best = min(took, key=lambda engine: took[engine])
    told = ", ".join(f"{engine} {1000 * seconds:.1f} ms" for engine, seconds in took.items())
    log.info("%s runs on %s (%s)", graphs[best].file.name, best, told)
    return graphs[best]


def _told(node: Any) -> str:
    shape = ", ".join("?" if each is None else str(each) for each in node.shape)
    return f"{node.name} {node.type} ({shape})"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
