"""What the first process of a container owes to the others: hand signals on, bury the dead.

A process whose parent has ended becomes the first process's child, and stays a zombie until that
waits for it. The server cannot: waiting for any child would take the ends of its own from those who
ask for them. So as pid 1 it does this alone, and the server is its child.
"""

from __future__ import annotations

import contextlib
import os
import signal

_HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def become_child_of_init() -> bool:
    """As pid 1: go on in a child, and end as it does. Elsewhere nothing; whether it was pid 1.

    Before threads and sockets are made: a fork copies neither.
    """
    if os.getpid() != 1:
        return False
    # A signal that comes before its handler is there would be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDED_ON)
    child = os.fork()
    if child:
        os._exit(_watch(child))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDED_ON)
    return True


def _watch(child: int) -> int:
    """The child's exit code; 128 + n where signal n ended it, as shells say."""
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
