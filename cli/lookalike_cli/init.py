"""`lookalike init`: a first YAML from a folder of pictures."""

from __future__ import annotations

import os
import shlex
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.failure import ExitCode, Failure, missing_extra
from lookalike_cli.options import DEFAULT_DATA_DIR, Output, OutputFormat

if TYPE_CHECKING:
    from lookalike_serving.starting.document import Proposal
    from lookalike_serving.starting.folder import NearMiss

EXAMPLES = """Examples:

lookalike init ./photos

lookalike init ./photos --file holiday.yaml --force"""

_PORT = 8000
_MORE_PORTS = 50
_MOST_CAUSES = 3


def init(
    folder: Annotated[
        Path, typer.Argument(help="Folder with the pictures; subfolders are included.")
    ],
    file: Annotated[Path, typer.Option("--file", "-f", help="File to write.")] = Path(
        "lookalike.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Write a first YAML for a folder of pictures, and say what to run next.

    Inspects the names of the pictures, a table that describes them, and which model this machine
    can run. Changes nothing except the file that it writes.
    """
    try:
        import lookalike_serving.starting.folder as looking
        from lookalike_serving.starting.document import yaml_of
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or str(error)) from None
    from lookalike_cli.printing import notices

    if file.is_dir():
        raise Failure(f"--file {file} is a folder: name a file", ExitCode.USAGE)
    if file.exists() and not force:
        raise Failure(f"{file} exists: give --force to overwrite it, or another --file")
    _check(folder)
    with notices().status("inspecting the pictures"):
        proposal, near = _proposed(folder, file, looking)
    port = _free_port()
    command = f"lookalike up -f {shlex.quote(str(file))}"
    if port != _PORT:
        command += f" --port {port}"
    try:
        file.write_text(yaml_of(proposal, command), encoding="utf-8")
    except OSError as error:
        raise Failure(
            f"{file} cannot be written: {error.strerror or error}: name another with --file"
        ) from None
    _tell(proposal, near, folder, file, command, output)


def _check(folder: Path) -> None:
    if not folder.exists():
        raise Failure(f"there is no folder {folder}: name the one with your pictures")
    if not folder.is_dir():
        raise Failure(f"{folder} is a file: name the folder that it is in")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise Failure(f"{folder} cannot be read: give this user the right to")
    try:
        str(folder.resolve()).encode()
    except UnicodeEncodeError:
        raise Failure(
            "the path of the folder contains bytes that are not UTF-8, which YAML cannot "
            "represent: rename it"
        ) from None


def _proposed(folder: Path, file: Path, looking: Any) -> tuple[Proposal, NearMiss | None]:
    """What the YAML is to say, and a table that nearly fits. Raises Failure."""
    from lookalike_serving.ingest.sources import SourceError
    from lookalike_serving.starting.document import Proposal, fields_of, name_for
    from lookalike_serving.starting.model import model_at_hand

    folder = folder.resolve()
    try:
        pictures = looking.pictures_of(folder)
    except SourceError as error:
        raise Failure(str(error)) from None
    if not pictures.keys:
        passed = "".join(
            f"\n  {count:,} skipped: {cause} (such as {pictures.skipped.examples[cause]})"
            for cause, count in pictures.skipped.counts.most_common(_MOST_CAUSES)
        )
        raise Failure(
            f"{folder} contains no pictures: name a folder with files that end in .jpg, .png, "
            f".webp, .heic or another image format{passed}"
        )
    found = looking.description_of(folder, pictures)
    described = found if isinstance(found, looking.Described) else None
    proposal = Proposal(
        name=name_for(folder.name),
        path=_relative(folder, file),
        pictures=pictures,
        described=described,
        model=model_at_hand(DEFAULT_DATA_DIR / "weights"),
        fields=fields_of(described),
    )
    return proposal, found if isinstance(found, looking.NearMiss) else None


def _relative(folder: Path, file: Path) -> str:
    path = os.path.relpath(folder, file.resolve().parent)
    return path if path.startswith(".") else f"./{path}"


def _free_port() -> int:
    """The port that `up` listens on by itself, or the next one that nobody has."""
    for port in range(_PORT, _PORT + _MORE_PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return _PORT


def _tell(
    proposal: Proposal,
    near: NearMiss | None,
    folder: Path,
    file: Path,
    command: str,
    output: Output,
) -> None:
    from lookalike_cli.printing import console, counted, print_json
    from lookalike_serving.starting.document import doubts_of

    described = proposal.described
    if output is Output.JSON:
        print_json(
            {
                "file": str(file),
                "collection": proposal.name,
                "retriever": proposal.retriever,
                "pictures": len(proposal.pictures.keys),
                "formats": proposal.pictures.formats,
                "metadata": described
                and {
                    "file": described.file,
                    "key_column": described.key_column,
                    "matched": described.matched,
                    "document_id": described.id_column,
                },
                "fields": [{"name": name, "type": kind} for name, kind in proposal.fields],
                "model": {
                    "provider": proposal.model.provider.value,
                    "name": proposal.model.name,
                    "ability": proposal.model.ability,
                },
                "next": command,
            }
        )
        return

    def say(text: str) -> None:
        console().print(text, markup=False, soft_wrap=True)

    count = len(proposal.pictures.keys)
    formats = ", ".join(f"{n:,} {name}" for name, n in proposal.pictures.formats.items())
    more = "" if proposal.pictures.whole else " and more: not all files could be listed in time"
    other = proposal.pictures.skipped.total
    skipped = f"; {counted(other, 'other file')}" if other else ""
    say(f"pictures:   {count:,} in {folder} ({formats}){more}{skipped}")
    if described is not None:
        say(
            f"metadata:   {described.file}: {described.matched:,} of {count:,} pictures have a row "
            f"(column {described.key_column!r}; {described.rows:,} rows"
            f"{'' if described.whole else ' read'})"
        )
        if described.id_column is not None:
            say(f"ids:        column {described.id_column!r}")
        told = ", ".join(f"{name} ({kind})" for name, kind in proposal.fields)
        say(f"fields:     {told or 'none'}")
        for name, doubt in doubts_of(described).items():
            say(f"            {name}: {doubt}")
    elif near is not None:
        say(
            f"metadata:   none. {near.file.name} seems to describe {near.matched:,} of them, but "
            f"in its column {near.column!r} {near.why}: write the path below {folder} there, and "
            "run `lookalike init --force` again"
        )
    else:
        say("metadata:   none: no CSV, TSV, JSON Lines or Parquet file names these pictures")
    model = proposal.model
    say(f"model:      {model.name or model.provider.value}: {model.ability}")
    for each in model.about:
        say(f"            {each}")
    if proposal.name != (named := folder.resolve().name):
        say(f"name:       {proposal.name}, since {named!r} cannot be the name of a resource")
    say(f"\nwritten:    {file}")
    say(
        "what will be ingested, and what not:  lookalike ingest --dry-run -f "
        f"{shlex.quote(str(file))}"
    )
    say(f"next:                         {command}")
