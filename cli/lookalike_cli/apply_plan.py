"""What applying files to a running server changes, in words, before it does.

Pure: the configurations before and after, and how many documents there are, give the steps. Which
change asks for what is `lookalike_crds.config_changes`, which the server follows; how two values
differ is reported as `lookalike plan` tells it for a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lookalike_cli.printing import counted
from lookalike_crds.config import (
    CollectionConfig,
    IngestionConfig,
    RetrieverConfig,
    ServingConfig,
)
from lookalike_crds.config_changes import Work, what_is_read, work_of
from lookalike_crds.image_collection import Engine, FieldSpec, ImageCollectionSpec
from lookalike_crds.naming import described
from lookalike_crds.resources import ImageCollection
from lookalike_crds.rules import Broken, broken_transitions
from lookalike_crds.sources import SourceSpec
from lookalike_operator.plan.compare import differences

Documents = Mapping[str, tuple[int, int]]
"""Collection -> (documents, those of them that no source of the new files can bring again)."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration that a server gets."""

    serving: ServingConfig
    ingestions: Mapping[str, IngestionConfig]
    """Of the collections that have sources."""


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one resource."""

    sign: Literal["+", "~", "-"]
    resource: str
    lines: tuple[str, ...]
    loses: tuple[str, ...] = ()
    """What is no longer found."""


def steps(before: Configuration, after: Configuration, documents: Documents) -> list[Step]:
    """Of every resource that changes: collections first, by name."""
    return [*_collections(before, after, documents), *_retrievers(before.serving, after.serving)]


def refused(before: ServingConfig, after: ServingConfig) -> list[str]:
    """What may not change, as a cluster refuses it: `resource path: message`."""
    known = {each.name: each for each in before.collections}
    return [
        f"ImageCollection/{each.name} {broken.path}: {broken.message}"
        for each in after.collections
        if each.name in known
        for broken in _broken(known[each.name], each)
    ]


def _broken(before: CollectionConfig, after: CollectionConfig) -> Iterator[Broken]:
    one, other = (
        ImageCollection.model_validate(
            {
                "metadata": {"name": each.name},
                "spec": ImageCollectionSpec(model=each.model, vector=each.vector),
            }
        )
        for each in (before, after)
    )
    return broken_transitions(one, other)


def _collections(
    before: Configuration, after: Configuration, documents: Documents
) -> Iterator[Step]:
    old = {each.name: each for each in before.serving.collections}
    new = {each.name: each for each in after.serving.collections}
    filling = {each.name: each for each in before.serving.filling}
    for name in sorted(old.keys() | new.keys()):
        resource = f"ImageCollection/{name}"
        count, lost = documents.get(name, (0, 0))
        if name not in new:
            held = counted(count, "document")
            stays = f"its index of {held} stays on disk until `lookalike gc` deletes it"
            loses = (f"{held} of collection {name}",) if count else ()
            yield Step("-", resource, (f"is no longer searched; {stays}",), loses)
            continue
        reading = list(_sources(before.ingestions.get(name), after.ingestions.get(name)))
        if name not in old:
            yield Step("+", resource, (f"is added, with {_model(new[name])}", *reading))
            continue
        lines = [*_collection(old[name], new[name], count), *reading]
        if name in filling and work_of(old[name], new[name]) is not Work.ANOTHER_INDEX:
            stays = f"{_model(old[name])}, which answers now, stays"
            lines.insert(0, f"is no longer embedded again with {_model(filling[name])}: {stays}")
        if work_of(old[name], new[name]) is Work.ANOTHER_INDEX and lost:
            are = "are" if lost > 1 else "is"
            lines.append(
                f"{counted(lost, 'document')} that no source can provide again {are} embedded "
                "from the stored images"
            )
        if lines:
            yield Step("~", resource, tuple(lines))


def _collection(before: CollectionConfig, after: CollectionConfig, documents: int) -> Iterator[str]:
    work = work_of(before, after)
    if work is Work.ANOTHER_INDEX:
        if after.sources or documents:
            until = f"{_model(before)} answers until that is complete"
            yield f"is embedded again with {_model(after)}; {until}"
        else:
            yield (
                f"continues with {_model(after)} and an index of its own, which is empty at first"
            )
    elif before.model != after.model:
        yield f"at once: {_listed(before.model, after.model, 'spec.model')}"
    elif before.copy_model != after.copy_model and before.copy_model and after.copy_model:
        yield f"at once: {_listed(before.copy_model, after.copy_model, 'spec.duplicates.model')}"
    if (before.gate, before.keep_previous) != (after.gate, after.keep_previous):
        yield "at once: what spec.model asks of the next change of the model"
    if before.vector != after.vector:
        told = _listed(before.vector, after.vector, "spec.vector")
        if work is Work.ANOTHER_INDEX or after.index.engine is not Engine.EDGE:
            yield f"at once: {told}"
        else:
            yield f"its index is opened again, and searches of it wait until then: {told}"
    elif work is Work.REOPENING:
        yield f"at once, over another connection: {_listed(before.index, after.index, 'index')}"
    yield from _fields(before.fields, after.fields)


def _fields(before: tuple[FieldSpec, ...], after: tuple[FieldSpec, ...]) -> Iterator[str]:
    old = {field.name: field for field in before}
    new = {field.name: field for field in after}
    for name, field in new.items():
        was = old.get(name)
        if was is None:
            yield f"field {name} ({field.type.value}) is indexed"
        elif was.type is not field.type:
            yield (
                f"field {name} is {field.type.value} and was {was.type.value}: values that are "
                f"not {field.type.value} stay, and no filter finds them until they are written "
                "again"
            )
        elif was != field:
            yield f"at once: {_listed(was, field, f'field {name}')}"
    for name in old.keys() - new.keys():
        yield f"field {name} is no longer indexed; its values stay"


def _sources(before: IngestionConfig | None, after: IngestionConfig | None) -> Iterator[str]:
    old = {source.name: source for source in (before.sources if before else ())}
    new = {source.name: source for source in (after.sources if after else ())}
    for name, source in new.items():
        if name not in old:
            yield f"source {name} is read"
        elif what_is_read([old[name]], ()) != what_is_read([source], ()):
            yield f"source {name} is read again: {_listed(old[name], source, '')}"
        elif before and after and _types_for(before, source) != _types_for(after, source):
            yield (
                f"source {name} is read again because the types of fields changed; no image is "
                "embedded for that"
            )
        elif before and after and _kept_of(before, source) != _kept_of(after, source):
            yield f"source {name} is read again for what spec.duplicates keeps of each picture"
    for name in old.keys() - new.keys():
        yield (
            f"source {name} is no longer read; its documents stay: `lookalike delete --source "
            f"{name}` deletes them"
        )
    if before and after and before.ingestion != after.ingestion:
        told = _listed(before.ingestion, after.ingestion, "spec.ingestion")
        yield f"from the next run on: {told}"


def _types_for(config: IngestionConfig, source: SourceSpec) -> list[dict[str, Any]]:
    return what_is_read([source], config.collection.fields)


def _kept_of(config: IngestionConfig, source: SourceSpec) -> list[dict[str, Any]]:
    return what_is_read([source], (), config.collection.duplicates)


def _retrievers(before: ServingConfig, after: ServingConfig) -> Iterator[Step]:
    old = {each.name: each for each in before.retrievers}
    new = {each.name: each for each in after.retrievers}
    for name in sorted(old.keys() | new.keys()):
        resource = f"Retriever/{name}"
        if name not in new:
            yield Step("-", resource, ("is no longer searchable",))
        elif name not in old:
            searched = ", ".join(each.name for each in new[name].collections)
            yield Step("+", resource, (f"is added, over {searched}",))
        elif old[name] != new[name]:
            yield Step("~", resource, (f"at once: {_retriever(old[name], new[name])}",))


def _retriever(before: RetrieverConfig, after: RetrieverConfig) -> str:
    return _listed(before, after, "spec")


def _listed(before: Any, after: Any, path: str) -> str:
    """Every setting that differs; with the defaults, so that one that is left out again shows."""
    one, other = (each.model_dump(mode="json", by_alias=True) for each in (before, after))
    found = differences(other, one)
    return "; ".join(f"{path}.{each}" if path else str(each) for each in found) or "its order"


def _model(config: CollectionConfig) -> str:
    return f"the model {described(config.made_by)}"
