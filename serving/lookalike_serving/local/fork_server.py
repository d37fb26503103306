"""Forks Python processes that have their modules already: fork_server.py SOCKET MODULE...

Ray starts each worker as a new Python process, each of which spends seconds importing FastAPI, gRPC
and torch. This process imports them once and forks whatever is asked for: `forked.py`, which Ray
starts in place of its own script, asks for it through a Unix socket. The memory of the modules is
shared, too.

Ray's own modules are not to be among them: they read the environment when they are loaded, and each
of Ray's workers has its own.

A fork is safe only while one thread runs: nothing here starts any, and the modules must not either
when they are imported. (Those of OpenBLAS do; it ends and restarts them around a fork by itself.)
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_HEAD_BYTES = 4
_FILES = 3


class ForkServer:
    """A fork server that listens at `path`, as a child of this process."""

    def __init__(self, path: Path, modules: Sequence[str]) -> None:
        self.path = path
        self._modules = modules
        self._process: subprocess.Popen[bytes] | None = None

    def ensure_running(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self.path.unlink(missing_ok=True)
            command = [sys.executable, __file__, str(self.path), *self._modules]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def end(self) -> None:
        """Stop forking; forked workers continue. This also works while the server still imports."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@dataclass(frozen=True, slots=True)
class _Request:
    """A process that is requested."""

    script: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    files: list[int]
    """Its standard input, output and error."""


def main(path: str, modules: Sequence[str]) -> None:
    """Fork what is requested, until standard input is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forked processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this one
    listener = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o177)  # whoever may connect may run anything as this user
    listener.bind(path)
    os.umask(umask)
    listener.listen(64)  # from now on, callers wait instead of starting a Python of their own
    for module in modules:
        with contextlib.suppress(
            Exception
        ):  # a module that fails concerns only the process that needs it
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is never collected is never written to, and stays shared
    request = _forked(listener)
    if request is not None:
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _become(request)


def _forked(listener: socket.socket) -> _Request | None:
    """Returns in each forked process what it runs, and None in the server itself, at its end."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return None
        connection, _ = listener.accept()
        with connection:
            try:
                request = _received(connection)
            except (OSError, ValueError):  # the caller has ended
                continue
            with warnings.catch_warnings():
                # Of Python 3.12 on, which counts OpenBLAS's threads, too.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                return request
            with contextlib.suppress(OSError):
                connection.sendall(f"{pid}\n".encode())
            for file in request.files:
                os.close(file)


def _received(connection: socket.socket) -> _Request:
    head, files, _, _ = socket.recv_fds(connection, _HEAD_BYTES, _FILES)
    with connection.makefile("rb") as reader:
        wanted = json.loads(reader.read(int.from_bytes(head, "big")))
    return _Request(**wanted, files=files)


def _become(request: _Request) -> None:
    for number, file in enumerate(request.files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # or all forked ones would draw the same numbers
    sys.argv = [request.script, *request.arguments]
    sys.path[0] = str(Path(request.script).parent)
    runpy.run_path(request.script, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
