from __future__ import annotations

import pytest
import torch
from torch import nn

from lookalike_crds.image_collection import Precision
from lookalike_serving.embed.precision import quickest

CPU = torch.device("cpu")


class Tower(nn.Module):
    """An image tower that works `effort[dtype]` times as long, and may fail or go wrong."""

    def __init__(self, effort: dict[torch.dtype, int], *, fails=False, disagrees=False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 16, generator=torch.Generator().manual_seed(1)))
        self.effort, self.fails, self.disagrees = effort, fails, disagrees
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if x.dtype is torch.bfloat16 and self.fails:
            raise RuntimeError("not implemented for 'BFloat16'")
        for _ in range(self.effort[x.dtype]):
            torch.sort(torch.arange(20_000, 0, -1))
        y = x.mean((2, 3)) @ self.weight
        return y.flip(1) if x.dtype is torch.bfloat16 and self.disagrees else y


FASTER = {torch.float32: 40, torch.bfloat16: 2}
SLOWER = {torch.float32: 2, torch.bfloat16: 40}


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"effort": FASTER}, Precision.BF16),
        ({"effort": SLOWER}, Precision.FP32),
        ({"effort": FASTER, "fails": True}, Precision.FP32),
        ({"effort": FASTER, "disagrees": True}, Precision.FP32),
    ],
    ids=["faster", "slower", "lacking", "disagreeing"],
)
def test_bfloat16_is_taken_where_it_is_faster_and_agrees(options, chosen, request):
    assert quickest(Tower(**options), CPU, (8, 8), request.node.name) is chosen


def test_what_was_measured_is_remembered_for_the_process(request):
    first, second = Tower(effort=FASTER), Tower(effort=FASTER)
    assert quickest(first, CPU, (8, 8), request.node.name) is Precision.BF16
    assert quickest(second, CPU, (8, 8), request.node.name) is Precision.BF16
    assert first.calls > 0
    assert second.calls == 0


def test_measuring_gives_the_threads_back(request):
    torch.set_num_threads(2)
    quickest(Tower(effort=FASTER), CPU, (8, 8), request.node.name)
    assert torch.get_num_threads() == 2
