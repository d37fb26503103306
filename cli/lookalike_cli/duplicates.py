"""`lookalike duplicates`: is this picture in a collection already, or a copy of it? And which
documents of a collection are the same picture? (`duplicate_scans.py`)"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lookalike_cli.duplicate_scans import Applying, Keep, Only, Scanning, of_collection
from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

if TYPE_CHECKING:
    from lookalike import DuplicateMatch, Duplicates

EXAMPLES = """Examples:

lookalike duplicates photo.jpg

lookalike duplicates photo.jpg --collection photos --sensitivity strict --output json

lookalike duplicates --scan --keep folders --folder originals/

lookalike duplicates --apply --only exact"""


class Sensitivity(StrEnum):
    STRICT = "strict"
    BALANCED = "balanced"
    LOOSE = "loose"


def duplicates(
    image: Annotated[
        str | None,
        typer.Argument(
            help="Picture to look for: a file or a URL. Without one: the newest report of the "
            "collection."
        ),
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", help="Collection, if the server has several."),
    ] = None,
    sensitivity: Annotated[
        Sensitivity | None,
        typer.Option(
            help="How much evidence a copy needs. Default: that of the collection; of a scan, "
            "strict."
        ),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, max=100, help="Number of matches.")
    ] = 10,
    copies_only: Annotated[
        bool, typer.Option("--copies-only", help="Omit pictures that only look alike.")
    ] = False,
    target_fpr: Annotated[
        float | None,
        typer.Option(
            max=0.1,
            help="The share of the pairs of different pictures that may be called similar by "
            "chance. Default: that of the collection, or 0.001.",
        ),
    ] = None,
    scan: Annotated[
        bool,
        typer.Option(
            "--scan", help="Look for documents that are the same picture; wait for the report."
        ),
    ] = False,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply", help="Delete the duplicates of the newest report, after a confirmation."
        ),
    ] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the newest scan.")] = False,
    keep: Annotated[
        Keep, typer.Option(help="With --scan: which document of a group is kept.")
    ] = Keep.LARGEST,
    field: Annotated[
        str | None,
        typer.Option(help="With --keep field: the metadata key; the highest value is kept."),
    ] = None,
    lowest: Annotated[
        bool, typer.Option("--lowest", help="With --keep field: the lowest value is kept.")
    ] = False,
    folder: Annotated[
        list[str] | None,
        typer.Option(
            help="With --keep folders: what ids begin with; may be repeated, the preferred one "
            "first."
        ),
    ] = None,
    filter: Annotated[
        list[str] | None, typer.Option("--filter", help="With --scan: a condition, as in search.")
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="With --scan: compare all documents again, also those that have not changed since "
            "an earlier scan.",
        ),
    ] = False,
    exactly: Annotated[
        Only | None,
        typer.Option("--only", help="With --apply: delete only documents with this verdict."),
    ] = None,
    spare: Annotated[
        list[str] | None,
        typer.Option(help="With --apply: leave this document; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --apply: do not ask.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many groups are shown.")] = 20,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Find the documents that are a picture, copies of it, or similar to it, with the evidence; or
    those of a whole collection that are the same picture.

    --scan looks for them and deletes nothing; --apply deletes all but one of each group.
    """
    from lookalike_cli.connection import connect, only

    if (image is not None) + scan + apply + cancel > 1:
        told = "use one of a picture, --scan, --apply and --cancel"
        raise Failure(told, ExitCode.USAGE)
    with connect(url, data_dir, api_key) as client:
        name = collection or only(
            [each.name for each in client.collections.list()], "collection", "--collection"
        )
        if image is None:
            how: Literal["strict", "balanced", "loose"] = "strict"
            if sensitivity is not None:
                how = sensitivity.value
            of_collection(
                client,
                name,
                scan=Scanning(how, keep, field, lowest, folder or [], filter or [], full)
                if scan
                else None,
                apply=Applying(exactly, spare or [], yes) if apply else None,
                cancel=cancel,
                limit=limit,
                output=output,
            )
            return
        found = client.collections.duplicates(
            name,
            image,
            sensitivity=None if sensitivity is None else sensitivity.value,
            top_k=top_k,
            similar=not copies_only,
            target_fpr=target_fpr,
        )
    _print(found, output)


def _print(found: Duplicates, output: Output) -> None:
    from lookalike_cli.printing import console, notice, print_json, shown, table

    if output is Output.JSON:
        print_json(found.model_dump(mode="json", exclude_none=True))
        return
    for warning in found.warnings:
        notice(warning)
    if not found.matches:
        console().print("Nothing found.")
        return
    made = table("verdict", "document", "confidence", "evidence", right=("confidence",))
    for match in found.matches:
        made.add_row(
            match.verdict, shown(match.document_id), f"{match.confidence:.2f}", _evidence(match)
        )
    console().print(made)


def _evidence(match: DuplicateMatch) -> str:
    """The most telling part of it, in words."""
    evidence = match.evidence
    if match.verdict == "exact":
        return "the same pixels"
    if match.verdict == "similar":
        told = [f"cosine {evidence.cosine:.2f}"] if evidence.cosine is not None else []
        if evidence.differs:
            told.append(f"no copy: differs in {', '.join(evidence.differs)}")
        return "; ".join(told)
    transform = evidence.transform or {}
    told = [", ".join(transform.get("edits", ())) or "recompressed"]
    if evidence.agreement is not None:
        told.append(f"{evidence.agreement:.0%} of the blocks agree")
    if evidence.inliers is not None:
        told.append(f"{evidence.inliers} keypoints")
    return "; ".join(told)
