"""Where a model runs."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """CUDA before Apple's MPS before the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
