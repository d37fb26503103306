"""The re-ranking stages, one file and one class each.

A stage is found by the type that declares it in lookalike_crds.stages; nothing else names it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from lookalike_crds.stages import StageSpec
from lookalike_serving.search.stages.stage import STAGES, Stage

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def stage_of(spec: StageSpec) -> Stage[Any]:
    """What carries out a stage that a Retriever or a request lists."""
    declared = next(each for each in type(spec).__mro__ if each in STAGES)
    return STAGES[declared](spec)


__all__ = ["Stage", "stage_of"]
