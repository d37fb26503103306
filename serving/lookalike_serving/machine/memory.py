"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_V2 = ("memory.max", "memory.current", "memory.stat", "inactive_file")
_V1 = (
    "memory/memory.limit_in_bytes",
    "memory/memory.usage_in_bytes",
    "memory/memory.stat",
    "total_inactive_file",
)
_MEMINFO = Path("/proc/meminfo")


def free_memory() -> int | None:
    """Bytes, by the container's limit and the machine's memory; None if neither is known."""
    known = [each for each in (_in_container(), _on_machine()) if each is not None]
    return min(known, default=None)


def _in_container() -> int | None:
    for limit, used, facts, cached in (_V2, _V1):
        try:
            most = int((_CGROUP / limit).read_text())
            taken = int((_CGROUP / used).read_text())
            stat = dict(line.split() for line in (_CGROUP / facts).read_text().splitlines())
        except (OSError, ValueError):  # no such file, or `max`
            continue
        # Files that were read count as used, and are dropped when memory is needed.
        return max(0, most - taken + int(stat.get(cached, 0)))
    return None


def _on_machine() -> int | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
