"""How an image tower wants its pixels laid out in memory.

Convolutions run faster on channels-last tensors: measured on a CPU with AMX, ModifiedResNet-50
2.2 times in bfloat16 and 1.1 times in float32, the demo model 1.5 times. A vision transformer has
one convolution, its patch embedding, and gains nothing.
"""

from __future__ import annotations

import torch
from torch import nn

_FEW = 3  # a transformer's stem may have as many


def layout_of(tower: nn.Module) -> torch.memory_format:
    convolutions = sum(isinstance(module, nn.Conv2d) for module in tower.modules())
    return torch.channels_last if convolutions > _FEW else torch.contiguous_format
