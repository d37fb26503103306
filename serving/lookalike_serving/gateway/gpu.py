"""The utilization of this process's GPU, as reported by its driver (NVML)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

# torch is imported where it is needed, in a replica: the process that starts Ray imports the
# gateway, too, and torch would be 250 MB of it.

log = logging.getLogger("lookalike.metrics")


def gpu_utilization() -> Callable[[], float] | None:
    """A reading in percent of the driver's last sample period; None if there is no such GPU.

    Without the `nvidia-ml-py` package, which torch asks, there is no reading: one line says so.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    try:
        torch.cuda.utilization()
    except Exception as failure:  # its kinds differ by torch's version and by the driver's
        log.warning("the GPU's utilization is not known: %s", " ".join(str(failure).split()))
        return None
    return _reading


def _reading() -> float:
    import torch

    try:
        return float(torch.cuda.utilization())
    except Exception:  # a GPU that has fallen off the bus must not take the metrics with it
        return math.nan
