"""Stands in for Ray's agent on a node whose dashboard nobody has: idle_agent.py SESSION NODE

The raylet starts an agent, reads from files at which ports it can be asked, and ends when the agent
does. As Ray's own does in a minimal installation, this one writes that it has none (-1), and waits
for the raylet's end. It imports the standard library alone: Ray's takes 90 MB.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
_POLL_SECONDS = 1.0


def main(session: Path, node: str) -> None:
    raylet = os.getppid()
    for name in _PORTS:
        new = session / f"{name}_{node}.new"
        new.write_text("-1")
        new.replace(session / f"{name}_{node}")
    while os.getppid() == raylet:
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
