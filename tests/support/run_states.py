"""What a run directory says of a server that is ready."""

from __future__ import annotations

from lookalike_serving.machine.rundir import Phase, State

READY = State(
    pid=1,
    identity="boot:1",
    phase=Phase.READY,
    url="http://127.0.0.1:8000",
    started_at="2026-11-23T08:00:00Z",
    config_digest="d",
    versions={"ray": "2"},
    ingestions=(),
)
