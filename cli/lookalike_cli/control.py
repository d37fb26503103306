"""Talking to the server of a data directory through its socket: see `local/control.py`."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from lookalike_cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from lookalike_serving.machine.rundir import RunDirectory


def ask(run: RunDirectory, question: dict[str, Any]) -> dict[str, Any]:
    """The server's answer, however long it takes. Raises Failure if it refuses, or is gone.

    Ctrl-C closes the connection, which calls off what was asked.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(run.control_socket))
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
        except OSError as failure:
            raise Failure(
                f"the server of {run.data_dir} does not accept changes now "
                f"({failure.strerror or failure}): see `lookalike status`",
                ExitCode.UNREACHABLE,
            ) from None
    if not line:
        raise Failure(
            f"the server of {run.data_dir} stopped in the meantime: `lookalike up -f FILE` "
            "starts it again",
            ExitCode.UNREACHABLE,
        )
    answer: dict[str, Any] = json.loads(line)
    if "refused" in answer:
        raise Failure(str(answer["refused"]))
    return answer
