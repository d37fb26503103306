"""`lookalike size`: the disk and memory of an index, before there is one."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike_cli.options import Output, OutputFormat

if TYPE_CHECKING:
    from lookalike_crds.image_collection import ImageCollectionSpec, ModelSpec
    from lookalike_crds.sizing import IndexSize

EXAMPLES = """Examples:

lookalike size --documents 10M --dimension 512

lookalike size --documents 2500000 --dimension 768 --quantization Scalar --on-disk --fields 4"""


class Stored(StrEnum):
    """How vectors are compressed, as `spec.vector.quantization` says it."""

    NONE = "None"
    SCALAR = "Scalar"
    BINARY = "Binary"


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_MOST = 100 * 10**9
_MILLION = 10**6


def number(text: str) -> int:
    """`2500000`, `2,500,000`, `2.5M`, `10k`."""
    found = re.fullmatch(r"([0-9][0-9,_]*(?:\.[0-9]+)?)\s*([kKmMbB]?)", text.strip())
    value = (
        round(float(re.sub("[,_]", "", found[1])) * _UNITS[found[2].lower()])
        if found and len(text) < 30
        else 0
    )
    if not 0 < value <= _MOST:
        raise typer.BadParameter(
            f"{text!r} is no number of documents: write 1 to 100B, such as 250000, 10k or 2.5M"
        )
    return value


def size(
    documents: Annotated[
        str, typer.Option(help="How many documents the index will have, such as 250000 or 10M.")
    ],
    dimension: Annotated[
        int,
        typer.Option(min=1, max=65_536, help="Numbers in a vector; `lookalike models` shows it."),
    ],
    copies: Annotated[
        int | None,
        typer.Option(
            "--copy-model-dimension",
            min=1,
            max=65_536,
            help="Numbers in a vector of spec.duplicates.model, if there is one.",
        ),
    ] = None,
    quantization: Annotated[
        Stored, typer.Option(case_sensitive=False, help="spec.vector.quantization")
    ] = Stored.NONE,
    on_disk: Annotated[bool, typer.Option("--on-disk", help="spec.vector.onDisk")] = False,
    m: Annotated[int, typer.Option(min=4, max=128, help="spec.vector.hnsw.m")] = 16,
    fields: Annotated[
        int, typer.Option(min=0, max=100, help="How many fields of the metadata are indexed.")
    ] = 0,
    metadata_bytes: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="A document's metadata as JSON, in bytes.")
    ] = 300,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Say how much disk and memory an index will take.

    The memory is that of the index; the process and the model take theirs. With it, no search waits
    for the disk.
    """
    from lookalike_cli.printing import print_json
    from lookalike_crds.image_collection import HnswSpec, Quantization, VectorSpec
    from lookalike_crds.sizing import index_size

    count = number(documents)
    vector = VectorSpec(
        quantization=Quantization(quantization), on_disk=on_disk, hnsw=HnswSpec(m=m)
    )
    found = index_size(
        count, dimension, vector, copies=copies, fields=fields, metadata_bytes=metadata_bytes
    )
    if output is Output.JSON:
        print_json(
            {
                "documents": count,
                "dimension": dimension,
                **({} if copies is None else {"copy_model_dimension": copies}),
                "disk_bytes": found.disk,
                "memory_bytes": found.memory,
                "free_disk_bytes": found.free_disk,
                "parts": {
                    part.name: {"disk_bytes": part.disk, "memory_bytes": part.memory}
                    for part in found.parts
                },
            }
        )
        return
    _print(found)


def _print(found: IndexSize) -> None:
    from lookalike_cli.printing import console, table
    from lookalike_cli.printing import size as shown

    made = table("part", "disk", "memory", right=("disk", "memory"))
    for part in found.parts:
        made.add_row(part.name, shown(part.disk), shown(part.memory) if part.memory else "–")
    made.add_row("[bold]index[/bold]", shown(found.disk), shown(found.memory))
    console().print(made)
    console().print(
        f"With engine Edge, an optimisation needs {shown(found.free_disk)} of free disk beside the "
        f"index: choose a volume of {shown(found.disk + found.free_disk)} or more.",
        soft_wrap=True,
    )


def per_million(spec: ImageCollectionSpec) -> str | None:
    """What a million documents of a collection take; None if the dimensions of its vectors, or of
    its copy model's, are not known."""
    from lookalike_cli.printing import size as shown
    from lookalike_crds.sizing import index_size

    dimension, copier = _dimension(spec.model), spec.made_by.copies
    copies = None if copier is None else _dimension(copier)
    if dimension is None or (copier is not None and copies is None):
        return None
    found = index_size(_MILLION, dimension, spec.vector, copies=copies, fields=len(spec.fields))
    dimensions = f"{dimension} dimensions"
    if copies is not None:
        dimensions += f", and {copies} of the copy model,"
    return (
        f"index: a million documents of {dimensions} take about {shown(found.disk)} of "
        f"disk and {shown(found.memory)} of memory (`lookalike size`)"
    )


def _dimension(model: ModelSpec) -> int | None:
    from lookalike_serving.embed.catalogue import CATALOGUE

    wanted = (model.provider.value, model.name)
    return next((k.dimension for k in CATALOGUE if (k.provider, k.name) == wanted), None)
