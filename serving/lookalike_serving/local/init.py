"""The duties of the first process of a container: pass signals on, and reap ended processes.

A process whose parent has ended becomes the first process's child, and stays a zombie until that
waits for it. The server cannot do that: waiting for any child would take the exit status of its own
children from the code that waits for them. So pid 1 does only this, and the server is its child.
"""

from __future__ import annotations

import contextlib
import os
import signal

_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def become_child_of_init() -> bool:
    """As pid 1: continue in a child, and end as it does.

    Otherwise do nothing. Returns whether it was pid 1. Call it before threads and sockets are made:
    a fork copies neither.
    """
    if os.getpid() != 1:
        return False
    # A signal that arrives before its handler is installed would be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    child = os.fork()
    if child:
        os._exit(_watch(child))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
    return True


def _watch(child: int) -> int:
    """The exit code of the child; 128 + n if signal n ended it, as in shells."""
    for number in _HANDED_ON:
        signal.signal(number, lambda number, frame: _send(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _send(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(child, number)
