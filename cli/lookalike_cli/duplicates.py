"""`lookalike duplicates`: is this picture in a collection already, or a copy of it?"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

if TYPE_CHECKING:
    from lookalike import DuplicateMatch, Duplicates

EXAMPLES = """Examples:

lookalike duplicates photo.jpg

lookalike duplicates photo.jpg --collection photos --sensitivity strict --output json"""


class Sensitivity(StrEnum):
    STRICT = "strict"
    BALANCED = "balanced"
    LOOSE = "loose"


def duplicates(
    image: Annotated[str, typer.Argument(help="Picture to look for: a file or a URL.")],
    collection: Annotated[
        str | None, typer.Option(help="Collection to look in, if the server has several.")
    ] = None,
    sensitivity: Annotated[
        Sensitivity | None,
        typer.Option(help="How much evidence a copy needs. Default: that of the collection."),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, max=100, help="Number of matches.")
    ] = 10,
    copies_only: Annotated[
        bool, typer.Option("--copies-only", help="Omit pictures that only look alike.")
    ] = False,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Find the documents that are a picture, copies of it, or similar to it, with the evidence."""
    from lookalike_cli.connection import connect, only

    with connect(url, data_dir, api_key) as client:
        name = collection or only(
            [each.name for each in client.collections.list()], "collection", "--collection"
        )
        found = client.collections.duplicates(
            name,
            image,
            sensitivity=None if sensitivity is None else sensitivity.value,
            top_k=top_k,
            similar=not copies_only,
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
        return f"cosine {evidence.cosine:.2f}" if evidence.cosine is not None else ""
    transform = evidence.transform or {}
    told = [", ".join(transform.get("edits", ())) or "recompressed"]
    if evidence.agreement is not None:
        told.append(f"{evidence.agreement:.0%} of the blocks agree")
    if evidence.inliers is not None:
        told.append(f"{evidence.inliers} keypoints")
    return "; ".join(told)
