"""A changed model takes the place of another: the run that fills its index, and when it answers.

One machine and a cluster follow the same rules. The run embeds what the sources list, carries over
every other document of the index that answers, and measures the gate. Then the new index answers,
unless something holds it back: a document that could not be carried over, or a gate that is not
passed. A person may let it answer all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lookalike_crds.config import CarryOver, CollectionConfig, IngestionConfig, ServingConfig
from lookalike_crds.image_collection import GateSpec
from lookalike_crds.progress import Counts, GateResult

NOT_CARRIED = "DocumentsNotCarried"
GATE_NOT_PASSED = "GateNotPassed"
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Held:
    """Why a filled index does not answer."""

    reason: str
    """CamelCase, as conditions have it."""
    message: str


def run_that_fills(
    new: CollectionConfig,
    live: CollectionConfig,
    serving: ServingConfig,
    known: IngestionConfig | None,
    progress_file: Path,
) -> IngestionConfig:
    """The run that fills the index of `new` on one machine while `live` answers.

    `known`: the run that reads the sources of the collection; None if it has none.
    """
    carry = CarryOver(index=live.index.name, model=live.model)
    if known is not None:
        return known.model_copy(update={"collection": new, "carry": carry})
    return IngestionConfig(
        collection=new,
        sources=(),
        data_dir=serving.data_dir,
        gateway_url=serving.http.local_url,
        internal_token_file=serving.access.internal_token_file,
        fetch=serving.fetch,
        progress_file=progress_file,
        carry=carry,
    )


def why_held(
    carried: Counts | None, named: tuple[str, ...], asked: GateSpec | None, gate: GateResult | None
) -> Held | None:
    """Why the index that a run has filled does not answer yet; None if it may.

    `carried`: what the run counted of documents that no source brought; `named`: some of those
    that failed; `gate`: what it measured.
    """
    if carried is not None and carried.failed:
        some = ", ".join(named[:_MOST_NAMED])
        such = f" ({some}{', …' if carried.failed > len(named[:_MOST_NAMED]) else ''})"
        return Held(
            NOT_CARRIED,
            f"{carried.failed} documents{such if some else ''} cannot be embedded by the new "
            "model, since their images are not stored or cannot be decoded; `lookalike failures` "
            "lists each with its cause",
        )
    if asked is None:
        return None
    if gate is None:
        return Held(GATE_NOT_PASSED, "spec.model.gate was not measured by the run")
    if not gate.passed:
        return Held(GATE_NOT_PASSED, gate.told)
    return None


def kept_for(keep: str) -> timedelta:
    """`12h` or `7d` as a span of time; `0` is none."""
    if keep == "0":
        return timedelta()
    amount, unit = int(keep[:-1]), keep[-1]
    return timedelta(hours=amount) if unit == "h" else timedelta(days=amount)
