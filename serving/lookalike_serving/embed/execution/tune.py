"""Measure all ways of computing a model, and choose for each tower the fastest that agrees.

The first way, torch in FP32, is the reference. A way is taken if its vectors of all sample images
or texts have a cosine of at least .999 to the reference's, and if it is faster by a margin than
the simpler ways before it: the margin pays for what an engine costs in memory and start-up.

On a CPU, one thread is measured by its processor time, which the load of the machine changes less
than elapsed time. What is measured is an embedder as it is used, tokens and normalisation included.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lookalike_serving.embed.execution.samples import sample_images, sample_texts
from lookalike_serving.embed.execution.source import Source, both
from lookalike_serving.embed.execution.ways import (
    BATCHES,
    ChosenBy,
    Execution,
    Trial,
    Way,
)
from lookalike_serving.embed.protocol import Embedder, Vectors

AGREES = 0.999
"""Least cosine to the vectors of the reference."""
MARGIN = 1.1
"""How many times as fast as the simpler ways before it a way has to be."""
_HOPELESS = 3.0
"""A way that takes this many times as long as the fastest is not measured to the end."""
_ROUNDS = 3

log = logging.getLogger("lookalike.models")


def tune(
    source: Source,
    *,
    seconds: float,
    told: Callable[[Execution], None],
    clock: Callable[[], float] = time.monotonic,
) -> Execution:
    """Measure the ways of `source`, in this thread, for about `seconds`.

    `told` gets what is known after each of them. One that has begun is not interrupted.
    """
    end = clock() + seconds
    ways = source.ways()
    missing = tuple(
        Trial(Way(engine, "any"), left_out=f"not installed: {remedy}")
        for engine, remedy in ways.missing.items()
    )
    trials: list[Trial] = []
    exact: tuple[Vectors, Vectors] | None = None
    for way in ways.available:
        if clock() > end and trials:
            trials.append(Trial(way, left_out=f"the {seconds:.0f} seconds for measuring were over"))
            continue
        try:
            embedder = source.copy().embedder(both(way, source, ChosenBy.MEASUREMENT))
            vectors = _vectors(embedder)
            exact = exact or vectors
            trials.append(_trial(way, embedder, vectors, exact, trials))
            del embedder
        except Exception as error:
            if exact is None:
                raise  # the model itself does not run
            trials.append(Trial(way, left_out=_reason(error)))
        log.info("%s: %s", source.name, _in_words(trials[-1]))
        told(choose(source, (*trials, *missing)))
    return choose(source, (*trials, *missing))


def choose(source: Source, trials: Sequence[Trial]) -> Execution:
    """The fastest way for each tower that agrees, the simpler one if it is about as fast."""
    image = _fastest(trials, lambda each: (each.image_ms, each.image_cosine))
    text = _fastest(trials, lambda each: (each.text_ms, each.text_cosine))
    return Execution(
        image, text if source.reads_texts else None, ChosenBy.MEASUREMENT, tuple(trials)
    )


def _fastest(
    trials: Sequence[Trial], of: Callable[[Trial], tuple[Sequence[float], float | None]]
) -> Way:
    best, best_cost = trials[0].way, _cost(of(trials[0])[0])
    for trial in trials[1:]:
        took, cosine = of(trial)
        if len(took) < len(BATCHES) or cosine is None or cosine < AGREES:
            continue
        if (cost := _cost(took)) * MARGIN < best_cost:
            best, best_cost = trial.way, cost
    return best


def _cost(took: Sequence[float]) -> float:
    """The geometric mean over the batch sizes: each of them counts the same."""
    return math.exp(sum(map(math.log, took)) / len(took)) if took else math.inf


def _trial(
    way: Way,
    embedder: Embedder,
    vectors: tuple[Vectors, Vectors],
    exact: tuple[Vectors, Vectors],
    before: Sequence[Trial],
) -> Trial:
    trial = Trial(
        way,
        image_cosine=_agreement(vectors[0], exact[0]),
        text_cosine=_agreement(vectors[1], exact[1]),
    )
    pixels = [embedder.preprocess(each) for each in sample_images()]
    texts = sample_texts()
    measure = partial(_milliseconds, embedder.info.device)
    calls: dict[str, Callable[[int], object]] = {
        "image_ms": lambda n: embedder.embed_pixels(pixels[:n])
    }
    if embedder.info.supports_text:
        calls["text_ms"] = lambda n: embedder.embed_texts(texts[:n])
    reasons = []
    for measured, call in calls.items():
        if getattr(trial, measured.replace("_ms", "_cosine")) < AGREES:
            reasons.append(f"{measured.removesuffix('_ms')} vectors differ from FP32")
            continue
        took: list[float] = []
        for n, batch in enumerate(BATCHES):
            best = min(
                (t for each in before if (t := getattr(each, measured)[n : n + 1])), default=()
            )
            took.append(measure(partial(call, batch), batch, best[0] if best else math.inf))
        changed: dict[str, Any] = {measured: tuple(took)}
        trial = replace(trial, **changed)
    return replace(trial, left_out="; ".join(reasons) or None)


def _milliseconds(device: str, call: Callable[[], object], batch: int, best: float) -> float:
    """The least time of a few calls for each item of the batch, after one that does not count."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    call()
    least = math.inf
    for _ in range(_ROUNDS):
        start = clock()
        call()
        least = min(least, 1e3 * (clock() - start) / batch)
        if least > _HOPELESS * best:
            break
    return least


def _vectors(embedder: Embedder) -> tuple[Vectors, Vectors]:
    images = embedder.embed_pixels([embedder.preprocess(each) for each in sample_images()])
    if not embedder.info.supports_text:
        return images, np.zeros((0, embedder.info.dimension), np.float32)
    return images, embedder.embed_texts(sample_texts())


def _agreement(some: Vectors, exact: Vectors) -> float:
    return float((some * exact).sum(axis=1).min()) if len(exact) else 1.0


def _reason(error: Exception) -> str:
    return f"cannot run here ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def _in_words(trial: Trial) -> str:
    if not trial.image_ms and not trial.text_ms:
        return f"{trial.way}: {trial.left_out}"
    parts = []
    for kind, took in (("images", trial.image_ms), ("texts", trial.text_ms)):
        if took:
            parts.append(f"{kind} " + ", ".join(f"{ms:.1f} ms" for ms in took))
    sizes = " and ".join(map(str, BATCHES))
    return f"{trial.way}: {'; '.join(parts)} each in batches of {sizes}"
