"""Which models are compared: names of `lookalike models`, or what `spec.model` would say."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from lookalike_cli.failure import ExitCode, Failure
from lookalike_crds.image_collection import ModelSpec, Provider

CURRENT = "current"
_FORM = (
    "write current, a name of `lookalike models`, or PROVIDER:NAME:WEIGHTS such as "
    "OpenClip:ViT-B-32:laion2b_s34b_b79k"
)


def named(text: str, current: ModelSpec) -> ModelSpec:
    """The model that `text` names. Paths are relative to the current folder. Raises Failure."""
    from lookalike_cli.rendering import with_resolved_weights
    from lookalike_serving.embed.catalogue import CATALOGUE

    if text == CURRENT:
        return current
    for known in CATALOGUE:
        names = {known.name or known.provider, (known.name or known.provider).partition(".")[0]}
        if text.lower() in {name.lower() for name in names}:
            return _spec(text, known.provider, known.name, known.weights)
    provider, _, rest = text.partition(":")
    if provider not in set(Provider) or (not rest and provider != Provider.DEMO):
        raise Failure(f"--models: there is no model {text!r}: {_FORM}", ExitCode.USAGE)
    if rest.startswith("hf-hub:") or provider == Provider.PLUGIN:
        name, weights = rest, ""
    else:
        name, _, weights = rest.partition(":")
    return with_resolved_weights(_spec(text, provider, name, weights), Path.cwd())


def _spec(text: str, provider: str, name: str | None, weights: str | None) -> ModelSpec:
    told = {"provider": provider, "name": name or None, "weights": weights or None}
    try:
        return ModelSpec.model_validate({key: each for key, each in told.items() if each})
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise Failure(f"--models: {text!r}: {message}. {_FORM}", ExitCode.USAGE) from None
