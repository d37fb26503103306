from __future__ import annotations

import pytest
import torch
from torch import nn

from lookalike_crds.image_collection import Precision
from lookalike_serving.embed.precision import settle

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


class Model(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        self.visual = Tower(**options)


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
def test_auto_takes_bfloat16_where_it_is_faster_and_agrees(options, chosen, request):
    model = Model(**options)
    assert settle(model, model.visual, Precision.AUTO, CPU, (8, 8), request.node.name) is chosen
    dtype = torch.bfloat16 if chosen is Precision.BF16 else torch.float32
    assert model.visual.weight.dtype is dtype


def test_what_was_measured_is_remembered_for_the_process(request):
    first, second = Model(effort=FASTER), Model(effort=FASTER)
    assert (
        settle(first, first.visual, Precision.AUTO, CPU, (8, 8), request.node.name)
        is Precision.BF16
    )
    assert (
        settle(second, second.visual, Precision.AUTO, CPU, (8, 8), request.node.name)
        is Precision.BF16
    )
    assert first.visual.calls > 0
    assert second.visual.calls == 0


@pytest.mark.parametrize(
    ("wanted", "dtype"),
    [
        (Precision.FP32, torch.float32),
        (Precision.BF16, torch.bfloat16),
        (Precision.FP16, torch.float16),
    ],
)
def test_what_is_asked_for_is_not_measured(wanted, dtype):
    model = Model(effort=SLOWER)
    assert settle(model, model.visual, wanted, CPU, (8, 8), "asked") is wanted
    assert model.visual.weight.dtype is dtype
    assert model.visual.calls == 0


def test_measuring_gives_the_threads_back(request):
    torch.set_num_threads(2)
    model = Model(effort=FASTER)
    settle(model, model.visual, Precision.AUTO, CPU, (8, 8), request.node.name)
    assert torch.get_num_threads() == 2
