"""Asks the fork server for a worker: forked.py SOCKET COMMAND...

COMMAND is Ray's: a Python, its setup_worker.py, the worker's script and its arguments. The fork
does what that would do and import Ray for: nothing, where the worker has no environment of its own.
Where it has one, or the fork server does not answer, COMMAND itself is run.

This process ends at once: the raylet identifies a worker by what the worker reports. It imports
only the standard library, and little of that.
"""

from __future__ import annotations

import json
import os
import socket
import sys

_CONTEXT = "--serialized-runtime-env-context="
_LANGUAGE = "--language="


def main(path: str, command: list[str]) -> None:
    wanted = requested(command)
    if wanted is None or not _forked(path, json.dumps(wanted).encode()):
        os.execv(command[0], command)


def requested(command: list[str]) -> dict[str, object] | None:
    """The request to the fork server; None for a worker with its own environment or program."""
    _python, _setup, *rest = command
    arguments = []
    for argument in rest:
        if argument.startswith(_CONTEXT):
            context = json.loads(argument.removeprefix(_CONTEXT) or "{}")
            if context.pop("py_executable", sys.executable) != sys.executable or any(
                context.values()
            ):
                return None
        elif not argument.startswith(_LANGUAGE):
            arguments.append(argument)
        elif argument != f"{_LANGUAGE}PYTHON":
            return None
    script, *arguments = arguments
    return {
        "script": script,
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
    }


def _forked(path: str, text: bytes) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            socket.send_fds(connection, [len(text).to_bytes(4, "big")], [0, 1, 2])
            connection.sendall(text)
            return bool(connection.recv(32))
    except OSError:
        return False


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
