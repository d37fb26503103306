"""A quick estimate of the number format that a model is fastest in.

No table of processors says whether bfloat16 pays: with AMX it is four times as fast as
float32, without it may be slower by ten. So both are timed on one small batch when a model loads
of which nothing is known yet: about a second. The process remembers the answer.

On a CPU, the processor time of one thread is compared: servers start when a machine is busiest, and
the elapsed time then says more about other processes than about the model.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn

from lookalike_crds.image_collection import Precision
from lookalike_serving.embed.layout import layout_of

_BATCH = 2
_ROUNDS = 3
_ENOUGH_SECONDS = 2.0  # seconds of measuring; one round is enough for a model that takes this long
_WORTH_IT = 1.1  # bfloat16 must win by this factor: below it, float32's exactness is free
_MUST_AGREE = 0.999  # least cosine between both precisions' vectors

_measured: dict[tuple[str, str, int], Precision] = {}


def quickest(
    visual: nn.Module, device: torch.device, size: tuple[int, int], name: str
) -> Precision:
    """FP32 or BF16, whichever the image tower `visual`, in FP32 and on the CPU, is faster in.

    `size` is the (height, width) of the images it reads. `name` says which measurements of
    this process can be used again.
    """
    key = (name, device.type, torch.get_num_threads())
    if key not in _measured:
        visual.to(device).to(memory_format=layout_of(visual))
        _measured[key] = _measure(visual, device, size)
    return _measured[key]


def _measure(visual: nn.Module, device: torch.device, size: tuple[int, int]) -> Precision:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_BATCH, 3, *size, generator=generator).to(device)
    images = images.contiguous(memory_format=layout_of(visual))
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    rounds: list[tuple[float, float]] = []
    with torch.inference_mode(), _one_thread(device):
        exact = _vectors(visual, images)  # the first call is slow and does not count
        try:
            halved, half_images = copy.deepcopy(visual).bfloat16(), images.bfloat16()
            agreement = float((_vectors(halved, half_images) * exact).sum(-1).min())
            while len(rounds) < _ROUNDS and sum(map(sum, rounds)) < _ENOUGH_SECONDS:
                exact_seconds = _seconds(visual, images, clock)
                rounds.append((exact_seconds, _seconds(halved, half_images, clock)))
        except (RuntimeError, TypeError):  # an operator that this device lacks in bfloat16
            return Precision.FP32
    exact_best, half_best = (min(column) for column in zip(*rounds, strict=True))
    faster = exact_best > _WORTH_IT * half_best
    return Precision.BF16 if faster and agreement >= _MUST_AGREE else Precision.FP32


def _vectors(visual: nn.Module, images: torch.Tensor) -> torch.Tensor:
    output = visual(images)
    # CoCa's tower returns (pooled, tokens).
    pooled = output[0] if isinstance(output, tuple) else output
    return torch.nn.functional.normalize(pooled.float(), dim=-1)


def _seconds(visual: nn.Module, images: torch.Tensor, clock: Callable[[], float]) -> float:
    start = clock()
    # Reading a value back waits until a GPU has finished.
    float(_vectors(visual, images)[0, 0])
    return clock() - start


@contextlib.contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU, compute in the calling thread alone, whose processor time can be measured."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
