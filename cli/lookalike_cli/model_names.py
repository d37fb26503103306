"""How commands name a model: as `lookalike models` does, as `spec.model` would, or by a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from lookalike_cli.failure import ExitCode, Failure
from lookalike_crds.image_collection import ModelSpec, Provider

if TYPE_CHECKING:
    from lookalike_crds.resources import ImageCollection

CURRENT = "current"
_FORM = (
    "write {}a name of `lookalike models`, or PROVIDER:NAME:WEIGHTS such as "
    "OpenClip:ViT-B-32:laion2b_s34b_b79k"
)


def named(text: str, current: ModelSpec | None, option: str = "--models") -> ModelSpec:
    """The model that `text` names. Paths are relative to the current folder. Raises Failure."""
    from lookalike_cli.rendering import with_resolved_weights
    from lookalike_serving.embed.catalogue import CATALOGUE

    if text == CURRENT and current is not None:
        return current
    form = _FORM.format(f"{CURRENT}, " if current is not None else "")
    for known in CATALOGUE:
        names = {known.name or known.provider, (known.name or known.provider).partition(".")[0]}
        if text.lower() in {name.lower() for name in names}:
            return _spec(text, (known.provider, known.name, known.weights), option, form)
    provider, _, rest = text.partition(":")
    if provider not in set(Provider) or (not rest and provider != Provider.DEMO):
        raise Failure(f"{option}: there is no model {text!r}: {form}", ExitCode.USAGE)
    if rest.startswith("hf-hub:") or provider == Provider.PLUGIN:
        name, weights = rest, ""
    else:
        name, _, weights = rest.partition(":")
    spec = _spec(text, (provider, name, weights), option, form)
    return with_resolved_weights(spec, Path.cwd())


def collection_in(files: list[Path], name: str | None) -> tuple[ImageCollection, Path]:
    """(the collection, the folder of its file). Raises Failure."""
    from lookalike_cli.connection import only
    from lookalike_crds.load import load_files

    loaded = load_files(files)
    if loaded.errors:
        raise Failure("\n".join(str(each) for each in loaded.errors))
    there = {each.metadata.name: each for each in loaded.collections}
    if name is not None and name not in there:
        raise Failure(f"--collection: the files have no {name!r}", ExitCode.USAGE)
    if not there:
        raise Failure("the files describe no ImageCollection")
    chosen = there[name or only(list(there), "collection", "--collection")]
    return chosen, loaded.folder_of(chosen)


def _spec(text: str, said: tuple[str, str | None, str | None], option: str, form: str) -> ModelSpec:
    told = dict(zip(("provider", "name", "weights"), said, strict=True))
    try:
        return ModelSpec.model_validate({key: each for key, each in told.items() if each})
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise Failure(f"{option}: {text!r}: {message}. {form}", ExitCode.USAGE) from None
