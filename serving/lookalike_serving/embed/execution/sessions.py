"""Graphs, opened by the engines that compute them on as many threads as torch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

_OPENVINO_NAMES = {"FP32": "f32", "BF16": "bf16", "FP16": "f16"}


def openvino_model(file: Path, precision: str) -> Any:
    """`precision`: FP32, BF16, FP16: what it computes in, whatever the graph's types are."""
    import openvino

    return openvino.Core().compile_model(
        file,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": _OPENVINO_NAMES[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        },
    )


def onnx_runtime_session(file: Path, provider: str) -> Any:
    """`provider`: with its whole name, such as `CPUExecutionProvider`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=[provider])
