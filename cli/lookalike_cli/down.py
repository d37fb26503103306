"""`lookalike down`: end the server of a data directory, and whatever a killed one left."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

from lookalike_cli.failure import Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, DataDir, Output, OutputFormat

if TYPE_CHECKING:
    from lookalike_serving.machine.rundir import RunDirectory

EXAMPLES = """Examples:

lookalike down

lookalike down --data-dir /srv/images"""

_PATIENCE_SECONDS = 40.0


def down(data_dir: DataDir = DEFAULT_DATA_DIR, output: OutputFormat = Output.TEXT) -> None:
    """Stop the server of a data directory. Indexes and images stay, and `up` uses them again."""
    from lookalike_cli.printing import console, print_json
    from lookalike_serving.machine import processes
    from lookalike_serving.machine.rundir import RunDirectory

    run = RunDirectory.of(data_dir)
    stopped = stop_server(run)
    leftovers = processes.end(lambda: processes.of_run(run))
    run.state_file.unlink(missing_ok=True)
    shutil.rmtree(run.ray_dir, ignore_errors=True)
    if output is Output.JSON:
        print_json({"stopped": stopped, "leftovers": len(leftovers)})
    elif stopped:
        console().print("Stopped.")
    elif leftovers:
        console().print(f"Ended {len(leftovers)} processes that a killed server had left behind.")
    else:
        console().print(f"Nothing is running in {data_dir}.", markup=False)


def stop_server(run: RunDirectory) -> bool:
    """Stop the running server of the data directory, if there is one. Returns whether there was."""
    from lookalike_serving.machine import processes

    deadline = time.monotonic() + _PATIENCE_SECONDS
    asked: int | None = None
    found = False
    while run.is_locked():
        found = True
        state = run.read_state()
        if state is not None and processes.is_alive(state.pid, state.identity):
            late = time.monotonic() > deadline
            if late or asked != state.pid:
                _signal(state.pid, signal.SIGKILL if late else signal.SIGTERM)
                asked = state.pid
        elif time.monotonic() > deadline:
            raise Failure(
                f"a process holds {run.lock_file}, and {run.state_file} does not say which: find "
                "it with `fuser`, and end it"
            )
        time.sleep(0.05)
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Failure(f"the server (process {pid}) belongs to another user") from None
