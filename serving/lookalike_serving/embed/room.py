"""Whether a model fits into the memory that is left, before it is loaded.

A model that does not fit ends its process without a word, and with it every model that answers
there. So what its weights take is compared first with what is free under the container's limit and
on the machine: a model that cannot fit beside another is refused, and one that may not is loaded
with a warning.
"""

from __future__ import annotations

import logging
from pathlib import Path

from lookalike_crds.image_collection import ModelSpec
from lookalike_crds.naming import described
from lookalike_serving.embed.protocol import ModelError, WeightsUnreachable
from lookalike_serving.embed.registry import provider_of
from lookalike_serving.machine.memory import free_memory

LEAST = 1
"""How many copies of its weights a loaded model takes at least."""
WHILE_LOADING = 2
"""How many there are while it is loaded: the file's tensors, and the network's."""

log = logging.getLogger("lookalike.models")


def check_room(model: ModelSpec, cache_dir: Path, *, beside: bool) -> None:
    """Warn if a model may not fit into the free memory.

    Weights that are not on this machine are fetched into `cache_dir`. `beside`: other models answer
    in this process. Raises ModelError then if it cannot fit, and WeightsUnreachable.
    """
    size, free = weights_bytes(model, cache_dir), free_memory()
    if not size or free is None or free >= WHILE_LOADING * size:
        return
    needs = (
        f"the model {described(model)} needs about {_mb(WHILE_LOADING * size)} MB of memory while "
        f"it is loaded and {_mb(LEAST * size)} MB afterwards, and {_mb(free)} MB are free"
    )
    remedy = "raise the memory limit (serving.resources of the Retriever), or free memory"
    if beside and free < LEAST * size:
        raise ModelError(f"{needs} beside the models that are loaded: {remedy}")
    log.warning("%s: the process may be ended for its memory; %s", needs, remedy)


def weights_bytes(model: ModelSpec, cache_dir: Path) -> int | None:
    """Size of the files that a model is loaded from; None if its provider does not tell.

    Raises WeightsUnreachable: to load it would only take as long to find that out again.
    """
    try:
        files = provider_of(model).files(model, cache_dir).files.values()
        return sum(each.stat().st_size for each in files if isinstance(each, Path))
    except WeightsUnreachable:
        raise
    except (ModelError, OSError):
        pass  # `load` tells what is wrong with it
    weights = Path(model.weights or "")
    return weights.stat().st_size if model.weights and weights.is_file() else None


def _mb(amount: int) -> str:
    return f"{amount // 1_000_000:,}"
