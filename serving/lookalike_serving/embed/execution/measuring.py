"""The process that measures: `python -m lookalike_serving.embed.execution.measuring`.

It is a process of its own so that nothing waits for it: an engine that crashes, or that compiles
for minutes, affects no request, and its processor time is that of the model alone. It runs with low
priority, ends when its time is over, and then leaves behind what it knows by then.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec, Precision
from lookalike_serving.embed.execution.remembered import machine, recall, remember, turn
from lookalike_serving.embed.execution.source import SourceProvider
from lookalike_serving.embed.execution.tune import tune
from lookalike_serving.embed.execution.ways import Execution, Trial
from lookalike_serving.embed.registry import provider_of

OTHERS_TURN = 75
"""Exit code: another process that shares the folder is measuring."""
_NICE = 10
_GRACE = 1.5
"""How many times the stated seconds it may take if a way that has begun does not end."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="the model, as JSON")
    parser.add_argument("--cache", required=True, type=Path)
    parser.add_argument("--seconds", required=True, type=float)
    parser.add_argument("--random-weights", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    logging.getLogger("lookalike").setLevel(logging.INFO)
    os.nice(_NICE)
    spec = ModelSpec.model_validate_json(given.model)
    return measure(spec, given.cache, given.seconds, random_weights=given.random_weights)


def measure(spec: ModelSpec, cache_dir: Path, seconds: float, *, random_weights: bool) -> int:
    """Measure the model's ways and remember the choice; the exit code. Computes with one thread."""
    provider = provider_of(spec).provider()
    if spec.precision is not Precision.AUTO or not isinstance(provider, SourceProvider):
        return 0
    import torch

    torch.set_num_threads(1)
    source = provider.read(spec, cache_dir, random_weights=random_weights)
    here, ways = machine(source.device), source.ways().available

    def told(execution: Execution) -> None:
        known.append(execution)

    def over() -> None:
        if known:
            tried = {each.way for each in known[-1].trials}
            late = f"it was not ready after {_GRACE * seconds:.0f} s"
            rest = [Trial(way, left_out=late) for way in ways if way not in tried]
            found = replace(known[-1], trials=(*known[-1].trials, *rest))
            remember(cache_dir, source.fingerprint, here, found)
        os._exit(0)

    known: list[Execution] = []
    with turn(cache_dir, source.fingerprint, here) as ours:
        if not ours:
            return OTHERS_TURN
        if recall(cache_dir, source.fingerprint, here) is not None:
            return 0
        limit = threading.Timer(_GRACE * seconds, over)
        limit.daemon = True
        limit.start()
        found = tune(source, seconds=seconds, told=told)
        limit.cancel()
        remember(cache_dir, source.fingerprint, here, found)
    return 0


if __name__ == "__main__":
    # What engines start does not hold the process up.
    code = main()
    sys.stderr.flush()
    os._exit(code)
