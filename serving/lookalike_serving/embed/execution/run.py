"""From a model that was read to an embedder: the one place that decides how it computes."""

from __future__ import annotations

import logging
from pathlib import Path

from lookalike_serving.embed.execution.remembered import machine, recall
from lookalike_serving.embed.execution.source import Source, both
from lookalike_serving.embed.execution.ways import TORCH, ChosenBy, Way
from lookalike_serving.embed.protocol import Embedder

log = logging.getLogger("lookalike.models")


def run(source: Source, asked: Way | None, cache_dir: Path) -> Embedder:
    """Build the embedder. `asked`: the way that a person asked for; None: the fastest known.

    Raises ModelError.
    """
    if asked is not None:
        return source.embedder(both(asked, source, ChosenBy.SPEC))
    known = recall(cache_dir, source.fingerprint, machine(source.device))
    if known is not None:
        try:
            # An engine that fails may have changed what it was given.
            made = (source if known.engines == (TORCH,) else source.copy()).embedder(known)
        except Exception as error:
            # Such as an engine that was removed, or a file of its that is damaged.
            log.warning(
                "%s cannot run on %s, which was measured to be fastest (%s): it is estimated again",
                source.name, known, " ".join(str(error).split())[:300],
            )  # fmt: skip
        else:
            log.info(
                "%s runs on %s, as measured earlier on this kind of machine", source.name, known
            )
            return made
    execution = both(source.estimate(), source, ChosenBy.ESTIMATE)
    log.info("%s runs on %s, as estimated", source.name, execution)
    return source.embedder(execution)
