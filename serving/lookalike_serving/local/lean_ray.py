"""Ray and Serve as a single server needs them: with fewer processes, and with forked workers.


Ray starts for every head node what a cluster of many machines needs; each is a Python process of
50 to 120 MB, and Ray 2.60 has a switch for none of them in `ray.init`:

    the autoscaler's monitor    there is one node, and nobody to ask for another
    the dashboard               started even when it is switched off
    its agent on each node      the raylet insists on one; `idle_agent.py` stands in for it
    the agent of environments   as above; none of our workers has an environment of its own
    Serve's fallback proxy      answers while a deployment is scaled to zero, which ours never is

Workers are forked from a process that has imported most of what they need (`fork_server.py`).

`few_processes` is in force while Ray and Serve are started. It changes the classes that start their
processes, in this process alone. It leaves what it does not find as it is, so a version of Ray that
has changed costs memory and still works.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import ray._private.node
import ray._private.services
import ray.serve._private.controller as serve_controller

_AGENT = Path(__file__).with_name("idle_agent.py")
_FORKED = Path(__file__).with_name("forked.py")
_AGENT_COMMANDS = {
    "--dashboard_agent_command": "dashboard",
    "--runtime_env_agent_command": "runtime_env",
}
_WORKER_COMMAND = "--python_worker_command"


class _Node(ray._private.node.Node):  # type: ignore[misc]
    """A head node that is the only one."""

    def start_monitor(self) -> None:
        """Nothing scales this cluster."""

    def start_api_server(self, **_: Any) -> None:
        """Nobody looks at this cluster's dashboard."""
        self._webui_url = ""


class ServeController(serve_controller.ServeController):  # type: ignore[misc]
    """Serve's controller. Ray's worker imports it from here, and names its process after it."""

    async def __init__(self, **options: Any) -> None:  # type: ignore[misc]
        await super().__init__(**options)
        # It asks for a fallback proxy, and for nothing else.
        self.proxy_state_manager._running_native_proxies = False


@contextmanager
def few_processes(fork_server: Path) -> Iterator[None]:
    """Within this context, Ray and Serve start only what a single server needs.

    `fork_server` is the socket of the process that forks the workers.
    """
    start = ray._private.services.start_ray_process

    def started(command: list[str], process_type: str, **options: Any) -> Any:
        ours = [with_forks(with_idle_agent(part), fork_server) for part in command]
        return start(ours, process_type, **options)

    with ExitStack() as stack:
        for where, name, instead in (
            (ray._private.node, "Node", _Node),
            (ray._private.services, "start_ray_process", started),
            (serve_controller, "ServeController", ServeController),
        ):
            stack.enter_context(patch.object(where, name, instead))
        yield


def with_idle_agent(argument: str) -> str:
    """An argument of the raylet's, with our agent where it names one of Ray's."""
    option, _, command = argument.partition("=")
    if option not in _AGENT_COMMANDS:
        return argument
    named = {
        name: value
        for word in shlex.split(command)
        for name, _, value in [word.partition("=")]
        if name in ("--session-dir", "--node-id")
    }
    if len(named) != 2:
        return argument
    session, node = named["--session-dir"], named["--node-id"]
    return _with_script(option, _AGENT, _AGENT_COMMANDS[option], session, node)


def with_forks(argument: str, fork_server: Path) -> str:
    """An argument of the raylet's, with `forked.py` before the command of a worker."""
    option, _, command = argument.partition("=")
    if option != _WORKER_COMMAND:
        return argument
    return _with_script(option, _FORKED, str(fork_server), *shlex.split(command))


def _with_script(option: str, script: Path, *arguments: str) -> str:
    # -I and -S: it needs the standard library, and nothing of what is installed.
    command = [sys.executable, "-I", "-S", str(script), *arguments]
    return f"{option}={subprocess.list2cmdline(command)}"
