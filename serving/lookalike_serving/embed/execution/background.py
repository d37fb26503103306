"""Measure a loaded model's ways beside its work, and continue with the fastest.

Of processes that share a folder for weights one measures; the others wait for what it finds.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.embed.execution.measuring import OTHERS_TURN
from lookalike_serving.embed.execution.remembered import machine, recall
from lookalike_serving.embed.execution.ways import ChosenBy, Execution
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.machine.memory import free_memory

SECONDS = 120.0
"""Of measuring, at most; a way that has begun may take half as long again."""
_COPIES = 4
"""How many times a model's weights are in memory while it is measured, engines' forms included."""
_ASIDE = 1_000_000_000
"""Bytes that the measuring process needs beside that, for the engines themselves."""
_LOOK_SECONDS = 10.0

log = logging.getLogger("lookalike.models")


class Tuning:
    """The measurement of one model, in a thread and a process of its own."""

    def __init__(
        self,
        embedder: BatchedEmbedder,
        model: ModelSpec,
        cache_dir: Path,
        *,
        random_weights: bool = False,
        threads: int | None = None,
    ) -> None:
        self._embedder = embedder
        self._model = model
        self._cache_dir = cache_dir
        self._random_weights = random_weights
        self._threads = threads
        self._ended = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    def start(self, *, after: float) -> None:
        """Begin in `after` seconds, if how the model computes was only estimated."""
        execution = self._embedder.info.execution
        if execution is None or execution.chosen_by is not ChosenBy.ESTIMATE:
            return
        self._thread = threading.Thread(
            target=self._run, args=(after,), name="lookalike-tuning", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End it, measured or not. Idempotent."""
        self._ended.set()
        if self._process is not None:
            self._process.kill()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self, after: float) -> None:
        if self._ended.wait(after):
            return
        try:
            found = self._known() or self._measured()
            if found is not None and not self._ended.is_set():
                self._use(found)
        except Exception:
            log.exception("%s was not measured", self._embedder.info.name)

    def _known(self) -> Execution | None:
        info = self._embedder.info
        return recall(self._cache_dir, info.fingerprint, machine(info.device))

    def _measured(self) -> Execution | None:
        name, size = self._embedder.info.name, self._embedder.info.bytes
        free = free_memory()
        if free is not None and free < (needed := _COPIES * size + _ASIDE):
            log.warning(
                "%s is not measured: that needs about %d MB of memory, and %d MB are free. It "
                "keeps %s. Raise the memory limit, or set spec.model.precision",
                name, needed // 1_000_000, free // 1_000_000, self._embedder.info.execution,
            )  # fmt: skip
            return None
        command = [sys.executable, "-m", "lookalike_serving.embed.execution.measuring"]
        command += ["--model", self._model.alone.model_dump_json(), "--cache", str(self._cache_dir)]
        command += ["--seconds", str(SECONDS)]
        command += ["--random-weights"] * self._random_weights
        log.info("%s is measured in every way that it can compute, at most %.0f s", name, SECONDS)
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        _, said = self._process.communicate()
        for line in said.splitlines()[-40:]:
            log.info("%s", line)
        if self._process.returncode == OTHERS_TURN:
            return self._await_others()
        if self._process.returncode and not self._ended.is_set():
            log.warning("measuring %s ended with exit code %d", name, self._process.returncode)
        return self._known()

    def _await_others(self) -> Execution | None:
        for _ in range(int(2 * SECONDS / _LOOK_SECONDS)):
            if self._ended.wait(_LOOK_SECONDS):
                return None
            if (found := self._known()) is not None:
                return found
        return None

    def _use(self, found: Execution) -> None:
        info = self._embedder.info
        now = info.execution
        if now is not None and (now.image, now.text) == (found.image, found.text):
            log.info("%s runs on %s, which is the fastest of all", info.name, found)
            self._embedder.tell(found)
            return
        log.info(
            "%s continues on %s, which was measured to be faster than %s", info.name, found, now
        )
        loaded = load_embedder(
            self._model,
            self._cache_dir,
            random_weights_for_benchmarks=self._random_weights,
            threads=self._threads,
        )
        if not self._ended.is_set():
            self._embedder.continue_with(loaded)
