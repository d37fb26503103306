"""Networks whose every value is read from a file are built without random values first.

PyTorch fills each parameter of a new network at random, so that it can be trained. That took a
fifth of the time in which a ViT-B/32 is loaded, for values that the file replaces a moment later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Network = TypeVar("Network", bound=nn.Module)

_FILLS = frozenset(
    {
        *(
            getattr(torch.Tensor, name)
            for name in ("normal_", "uniform_", "erfinv_", "bernoulli_", "random_")
        ),
        *(
            getattr(nn.init, name)
            for name in (
                "normal_",
                "uniform_",
                "trunc_normal_",
                "kaiming_normal_",
                "kaiming_uniform_",
                "xavier_normal_",
                "xavier_uniform_",
                "orthogonal_",
            )
        ),
    }
)
"""What fills a tensor at random, in place; `erfinv_` is a step of truncated normal values."""


def read_from_file(build: Callable[[], Network]) -> Network:
    """The network that `build` constructs and then fills from a file.

    If the file does not hold every parameter, the network is built again with the values that its
    authors begin with, as if this function were not there. Buffers are left alone: masks and
    positions are computed, and often not in the file. Raises what `build` raises.
    """
    with _Unfilled() as building:
        network = build()
    return network if building.has_read(network) else build()


class _Unfilled(TorchFunctionMode):
    """Leaves out random filling of parameters in this thread; notes which are copied to."""

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[int, nn.Parameter] = {}  # kept alive, so that no number is given twice

    def has_read(self, network: nn.Module) -> bool:
        return all(id(parameter) in self._read for parameter in network.parameters())

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        target = args[0] if args else named.get("tensor")
        if isinstance(target, nn.Parameter):
            if func in _FILLS:
                return target
            if func is torch.Tensor.copy_:
                self._read[id(target)] = target
        return func(*args, **named)
