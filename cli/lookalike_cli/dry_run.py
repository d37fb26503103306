"""What an ingestion of some files would bring in, and what not: `ingest --dry-run`, `validate`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_cli.failure import Failure
from lookalike_cli.printing import counted

if TYPE_CHECKING:
    from lookalike_crds.load import Loaded
    from lookalike_crds.resources import ImageCollection
    from lookalike_crds.sources import SourceSpec
    from lookalike_serving.ingest.survey import Survey

_BRIEF_SAMPLE, _BRIEF_SECONDS = 8, 5.0


@dataclass(frozen=True, slots=True)
class Surveyed:
    collection: str
    survey: Survey

    def document(self) -> dict[str, Any]:
        """For `--output json`."""
        plain = asdict(self.survey)
        for name in ("left_out", "skipped", "undecodable", "lost"):
            plain[name] = [each.model_dump() for each in plain[name]]
        return {"collection": self.collection, **plain}


def surveyed(loaded: Loaded, names: list[str]) -> list[Surveyed]:
    """Every source of every collection, or of those that are named. Raises Failure for others."""
    from lookalike_cli.rendering import secrets_dir
    from lookalike_crds.sources import buckets_of
    from lookalike_serving.ingest.survey import survey

    known = [resource.metadata.name for resource in loaded.collections]
    for name in names:
        if name not in known:
            have = ", ".join(known) or "none"
            raise Failure(f"no collection {name!r} in the files (there are: {have})")
    return [
        Surveyed(
            resource.metadata.name,
            asyncio.run(
                survey(
                    source,
                    resource.spec.fields,
                    secrets=secrets_dir(),
                    buckets=buckets_of(resource.spec.sources, secrets_dir()),
                )
            ),
        )
        for resource, source in _sources(loaded)
        if not names or resource.metadata.name in names
    ]


def surveyed_briefly(loaded: Loaded) -> list[Surveyed]:
    """The sources whose folder or manifest is on this machine; a few pictures of each."""
    from lookalike_serving.ingest.survey import survey

    return [
        Surveyed(
            resource.metadata.name,
            asyncio.run(
                survey(source, resource.spec.fields, sample=_BRIEF_SAMPLE, seconds=_BRIEF_SECONDS)
            ),
        )
        for resource, source in _sources(loaded)
        if _is_here(source)
    ]


def _sources(loaded: Loaded) -> list[tuple[ImageCollection, SourceSpec]]:
    from lookalike_cli.rendering import resolved_source

    return [
        (resource, resolved_source(source, loaded.folder_of(resource)))
        for resource in loaded.collections
        for source in resource.spec.sources
    ]


def _is_here(source: SourceSpec) -> bool:
    folder = source.kind.folder
    if source.urls is not None:
        return Path(source.urls.manifest).is_file()
    return folder is not None and Path(folder).is_dir()


def in_a_line(each: Surveyed) -> str:
    """The short form."""
    made = each.survey
    if made.error is not None:
        return f"{each.collection}: {made.error}"
    told = f"{each.collection}: source {made.source}: {_found(made)}"
    if made.refused:
        told += f"; {made.refused:,} found so far that will not be ingested"
    if passed_over := sum(skipped.count for skipped in made.skipped):
        told += f"; {counted(passed_over, 'other file')}"
    return told


def print_survey(each: Surveyed, say: Callable[[str], None]) -> None:
    """The long form."""
    made = each.survey
    say(f"{each.collection}, source {made.source}:")
    if made.error is not None:
        say(f"  cannot be read: {made.error}")
        return
    say(f"  {_found(made)} will be ingested, as far as the listing shows")
    sample = "1 picture was" if made.sampled == 1 else f"{made.sampled:,} pictures were"
    bad = sum(cause.count for cause in made.undecodable)
    if made.sampled:
        outcome = f"{bad:,} failed" if bad else "all are intact"
        say(f"  {sample} decoded as a test: {outcome}")
    if made.left_out or made.undecodable:
        say("  will not be ingested:")
        for cause in (*made.left_out, *made.undecodable):
            say(f"    {cause.told('picture')}")
    if made.lost:
        say("  notes:")
        for cause in made.lost:
            say(f"    {cause.told('picture')}")
    if made.skipped:
        say("  are skipped:")
        for cause in made.skipped:
            say(f"    {cause.told()}")
    if made.columns:
        say("  metadata:")
        width = max(len(column.name) for column in made.columns)
        for column in made.columns:
            say(f"    {column.name:<{width}}  {_typed(column.guess, column.field)}")
    untyped = [column for column in made.columns if column.could_be_typed]
    if untyped:
        from lookalike_serving.starting.document import quoted

        say("  to filter by them, add to spec.fields:")
        for column in untyped:
            say(f"    - {{ name: {quoted(column.name)}, type: {column.guess} }}")


def _found(made: Survey) -> str:
    """Such as "at least 12 pictures"."""
    return f"{'' if made.whole else 'at least '}{counted(made.comes_in, 'picture')}"


def _typed(guess: str | None, field: str | None) -> str:
    if field is None:
        return "has no values that can be typed" if guess is None else f"looks like {guess}"
    if guess is None or guess == field:
        return f"{field}, as spec.fields says"
    return f"{field}, as spec.fields says; looks like {guess}"
