"""YAML files -> resources, or every problem at once.

A file may hold many documents. Each is parsed, typed and checked on its own, so that one mistake
does not hide the next; what concerns several documents (two of one name, a Retriever whose
collection is missing) comes last. Problems are data: who shows them decides how.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lookalike_crds import shared_ids
from lookalike_crds.base import API_VERSION
from lookalike_crds.explain import did_you_mean, explain
from lookalike_crds.mend import mended
from lookalike_crds.resources import KINDS, ImageCollection, Resource, Retriever
from lookalike_crds.rules import broken_rules

MAX_BYTES = 4 * 1024 * 1024
MAX_DOCUMENTS = 1000
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what to write instead."""

    source: str
    """File name."""
    document: int
    """Position in the file, from 1; 0 if the file as a whole is meant."""
    resource: str | None
    """`Kind/name` as far as it is known."""
    path: str
    """Such as `spec.sources[0].volume.path`; empty for the document as a whole."""
    value: str | None
    message: str
    warning: bool = False

    def __str__(self) -> str:
        where = self.source + (f" document {self.document}" if self.document else "")
        what = " ".join(part for part in (self.resource, self.path) if part)
        shown = f" is {self.value}" if self.value is not None else ""
        return f"{where}: {what}{shown}: {self.message}" if what else f"{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a resource was read: relative paths in it are relative to this file's folder."""

    source: str
    document: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Loaded:
    resources: tuple[Resource, ...]
    """Those without errors, in the order of the files."""
    origins: tuple[Origin, ...]
    """Of each resource."""
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if not p.warning)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.warning)

    @property
    def collections(self) -> tuple[ImageCollection, ...]:
        return tuple(r for r in self.resources if isinstance(r, ImageCollection))

    @property
    def retrievers(self) -> tuple[Retriever, ...]:
        return tuple(r for r in self.resources if isinstance(r, Retriever))

    def folder_of(self, resource: Resource) -> Path:
        return self.origins[self.resources.index(resource)].folder


def load_files(paths: Iterable[Path], *, standalone: bool = False) -> Loaded:
    """Read and check files. `standalone`: everything a Retriever names must be in them."""
    reader = _Reader()
    for path in paths:
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                reader.complain(str(path), f"has {size} bytes: at most {MAX_BYTES} are read")
                continue
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            reader.complain(str(path), f"is not UTF-8 text (byte {error.start})")
            continue
        except OSError as error:
            reader.complain(str(path), f"cannot be read: {error.strerror or error}")
            continue
        reader.read(text, str(path), path.parent.resolve())
    return reader.loaded(standalone=standalone)


def load_resources(text: str, source: str = "<text>", *, standalone: bool = False) -> Loaded:
    """The same for one text."""
    reader = _Reader()
    reader.read(text, source, Path.cwd())
    return reader.loaded(standalone=standalone)


def local_warnings(resource: Resource) -> list[str]:
    """What the resource asks for and `lookalike up` does not do, in words."""
    said: list[str] = []
    for path, reason in _not_local(resource):
        said.append(f"{resource.kind}/{resource.metadata.name} {path}: {reason}")
    return said


def _not_local(resource: Resource) -> Iterator[tuple[str, str]]:
    given = resource.spec.model_fields_set
    if isinstance(resource, Retriever):
        for name in ("serving", "autoscaling", "access"):
            if name in given:
                yield f"spec.{name}", "is for a cluster; one machine runs one replica"
        return
    for i, source in enumerate(resource.spec.sources):
        if source.schedule is not None:
            yield (
                f"spec.sources[{i}].schedule",
                "is for a cluster; here, run `lookalike ingest` when the images change",
            )


class _Reader:
    def __init__(self) -> None:
        self._found: list[tuple[Resource, Origin]] = []
        self._problems: list[Problem] = []

    def complain(self, source: str, message: str, document: int = 0) -> None:
        self._problems.append(Problem(source, document, None, "", None, message))

    def read(self, text: str, source: str, folder: Path) -> None:
        try:
            documents = list(_documents(text))
        except yaml.YAMLError as error:
            self.complain(source, f"is not YAML: {_yaml_message(error)}")
            return
        if not any(document is not None for document in documents):
            self.complain(source, "holds no resource: write an ImageCollection and a Retriever")
        for number, document in enumerate(documents, 1):
            if document is not None:
                self._read_one(document, Origin(source, number, folder))

    def _read_one(self, document: Any, origin: Origin) -> None:
        source, number = origin.source, origin.document
        if not isinstance(document, dict):
            found = type(document).__name__
            self.complain(source, f"is a {found}, not a resource (apiVersion, kind, …)", number)
            return
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        label = f"{document.get('kind')}/{name}"
        kind = document.get("kind")
        model = KINDS.get(kind) if isinstance(kind, str) else None
        if model is None:
            message = f"is no kind of Lookalike{did_you_mean(str(kind), KINDS)}"
            self._add(origin, None, "kind", kind, message)
            return
        if document.get("apiVersion") != API_VERSION:
            self._add(
                origin, label, "apiVersion", document.get("apiVersion"), f"write {API_VERSION}"
            )
        document = {**document, "apiVersion": API_VERSION}
        document.pop("status", None)
        try:
            resource = model.model_validate(document)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            for each in errors:
                path, value, message = explain(each, model, document)
                self._add(origin, label, path, value, message)
            # A mistake in one place is no reason to be silent about rules broken in another.
            for rule in mended(model, document).broken_rules():
                self._add(origin, label, rule.path, None, rule.message)
            return
        broken = list(broken_rules(resource))
        for each_rule in broken:
            self._add(origin, label, each_rule.path, None, each_rule.message)
        if not broken:
            self._found.append((resource, origin))

    def _add(self, origin: Origin, label: str | None, path: str, value: Any, message: str) -> None:
        shown = None if value is None else _shown(value)
        self._problems.append(Problem(origin.source, origin.document, label, path, shown, message))

    def loaded(self, *, standalone: bool) -> Loaded:
        seen: dict[tuple[str, str, str], Origin] = {}
        for resource, origin in self._found:
            namespace = resource.metadata.namespace or ""
            key = (resource.kind, namespace, resource.metadata.name)
            first = seen.setdefault(key, origin)
            if first is not origin:
                self._add(
                    origin,
                    f"{resource.kind}/{resource.metadata.name}",
                    "metadata.name",
                    resource.metadata.name,
                    f"is taken by {first.source} document {first.document}: choose another name",
                )
        self._check_references(standalone=standalone)
        self._check_ids()
        return Loaded(
            tuple(resource for resource, _ in self._found),
            tuple(origin for _, origin in self._found),
            tuple(self._problems),
        )

    def _check_ids(self) -> None:
        for resource, at in self._found:
            if not isinstance(resource, ImageCollection):
                continue
            label = f"{resource.kind}/{resource.metadata.name}"
            self._problems += (
                Problem(at.source, at.document, label, path, None, told, warning=True)
                for path, told in shared_ids.warnings(resource.spec)
            )

    def _check_references(self, *, standalone: bool) -> None:
        names = {r.metadata.name for r, _ in self._found if isinstance(r, ImageCollection)}
        # A collection that is in the files but has errors of its own is not missing.
        mentioned = {p.resource for p in self._problems if p.resource}
        for resource, origin in self._found:
            if not isinstance(resource, Retriever):
                continue
            for i, reference in enumerate(resource.spec.collections):
                name = reference.name
                if name in names or f"ImageCollection/{name}" in mentioned:
                    continue
                hint = did_you_mean(name, names)
                self._problems.append(
                    Problem(
                        origin.source,
                        origin.document,
                        f"Retriever/{resource.metadata.name}",
                        f"spec.collections[{i}].name",
                        _shown(name),
                        f"there is no ImageCollection of that name in these files{hint}",
                        warning=not standalone,
                    )
                )


class _Loader(yaml.SafeLoader):
    """Safe YAML that also refuses duplicate keys, and aliases: few bytes expand to billions."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not read: write the value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is not text: put it in quotes",
                    problem_mark=key_node.start_mark,
                )
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} stands twice: remove one",
                    problem_mark=key_node.start_mark,
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# Times stay text: the resource types say what is a time, not the look of a value.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _documents(text: str) -> Iterator[Any]:
    loader = _Loader(text)
    try:
        count = 0
        while loader.check_data():  # type: ignore[no-untyped-call]
            count += 1
            if count > MAX_DOCUMENTS:
                raise yaml.YAMLError(f"more than {MAX_DOCUMENTS} documents: split the file")
            yield loader.get_data()
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    finally:
        loader.dispose()


def _yaml_message(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error).replace("\n", " ")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
