"""Optimising an Edge shard in another process, on a copy.

`EdgeShard.optimize()` builds HNSW graphs and quantised storage and holds Python's interpreter
lock all the while (measured, Edge 0.9: 13 s for 40,000 x 128 on 2 cores, during which no other
thread of the process runs; 4 min for 1M x 512). A server that calls it stops answering. So a
child process copies the shard, optimises the copy, and the server then swaps it in
(`EdgeStore.optimize`). This is the server's side; `edge_optimizer.py` is the child's.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from lookalike_serving.index.protocol import IndexFailure

_CHILD = Path(__file__).with_name("edge_optimizer.py")
_NEARLY, _COPIED = b"nearly\n", b"copied\n"


class ShardOptimizer:
    """A child process that optimises a copy of a shard. Its methods block: use a thread."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD), str(source), str(target), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_nearly_copied(self) -> None:
        """Returns when little is left to be copied, for which writes must wait. Raises
        IndexFailure."""
        self._expect(_NEARLY)

    def copy_rest(self) -> None:
        """Copies that; nothing may write to the source in the meantime. Raises IndexFailure."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended, and `_expect` says why
            self._process.stdin.write(b"go on\n")
            self._process.stdin.flush()
        self._expect(_COPIED)

    def _expect(self, line: bytes) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != line:
            self.wait_finished()
            raise self._failure("ended early")

    def wait_finished(self, told: bytes = b"") -> None:
        """Returns when the target is optimised, on disk and closed. Raises IndexFailure.

        `told`: what `edge_tuning.py` makes of it; empty: search settings are not measured.
        """
        _, errors = self._process.communicate(told)
        if self._process.returncode != 0:
            raise self._failure(errors.decode(errors="replace").strip().rpartition("\n")[2])

    def kill(self) -> None:
        """End it at once; whoever waits for it gets an IndexFailure. Does not block."""
        self._process.kill()

    def _failure(self, why: str) -> IndexFailure:
        code = self._process.returncode
        cause = f"signal {-code}" if code is not None and code < 0 else f"status {code}"
        return IndexFailure(
            f"optimising the index in {self._source.parent} failed ({cause}: "
            f"{why or 'no message'}); searches still work; free memory or disk space, and call "
            "optimize() again"
        )
