"""How many CPUs this process really has."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = (
    Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


def usable_cpus() -> int:
    """The CPUs that this process may use: its affinity, limited by the container's quota.

    torch looks at neither quota: in a pod limited to 2 CPUs of a 64-core node it would start
    64 threads, which the kernel then stops for most of each period.
    """
    try:
        affinity = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        affinity = os.cpu_count() or 1
    return max(1, min(affinity, math.ceil(_quota())))


def _quota() -> float:
    """The quota of the cgroup in CPUs; infinite if it sets none."""
    try:
        if _CGROUP_V2.exists():
            quota, period = _CGROUP_V2.read_text().split()[:2]
        else:
            quota, period = (path.read_text().strip() for path in _CGROUP_V1)
        return int(quota) / int(period) if int(quota) > 0 else 1e9
    except (OSError, ValueError):  # no such file, or `max`
        return 1e9
