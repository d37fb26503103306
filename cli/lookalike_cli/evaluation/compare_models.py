"""`lookalike compare-models`: which model is best for the pictures of a collection."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.evaluation.asking import Asked, Edited, Same
from lookalike_cli.evaluation.metrics import NAMES, Mean, figures, means
from lookalike_cli.failure import ExitCode, Failure, missing_extra
from lookalike_cli.options import (
    DEFAULT_DATA_DIR,
    ApiKey,
    DataDir,
    Files,
    Output,
    OutputFormat,
    Url,
)

if TYPE_CHECKING:
    from lookalike_cli.evaluation.sample import Sample
    from lookalike_crds.image_collection import Distance, ModelSpec

EXAMPLES = """Examples:

lookalike compare-models -f my.yaml --models current,ViT-B-16-SigLIP2 --judgments judgments.jsonl

lookalike compare-models -f my.yaml --models Demo,OpenClip:ViT-B-32:laion2b_s34b_b79k --edited

lookalike compare-models -f my.yaml --models current,resnet50 --same product_id --sample 5000"""

_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class _Row:
    """What was found out about one model."""

    asked: str
    """As the command line names it."""
    reason: str | None = None
    """Why it could not be tried; None if it was."""
    queries: int = 0
    """That it can answer: a model without texts answers no text."""
    means: dict[str, Mean] | None = None
    facts: dict[str, Any] | None = None
    """What `lookalike_serving.trial.Tried` says, without rankings."""


def compare_models(
    file: Files,
    models: Annotated[
        str,
        typer.Option(
            help="Separated by commas: current (what the YAML says), names of `lookalike models`, "
            "or PROVIDER:NAME:WEIGHTS."
        ),
    ],
    judgments: Annotated[
        Path | None, typer.Option(help="Judgments, as `lookalike evaluate -f` reads them.")
    ] = None,
    same: Same = None,
    edited: Edited = False,
    sample: Annotated[
        int, typer.Option(min=10, max=100_000, help="Documents that each model embeds.")
    ] = 2000,
    queries: Annotated[
        int, typer.Option(min=1, max=10_000, help="With --same or --edited: at most so many.")
    ] = 200,
    k: Annotated[int, typer.Option("--k", min=1, max=1000, help="The k of P@k, R@k, nDCG@k.")] = 10,
    collection: Annotated[
        str | None, typer.Option(help="The collection, if the files have several.")
    ] = None,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Compare models on a sample of a collection: quality, speed, memory, cost of re-embedding.

    The pictures come from the running server, and are embedded on this machine; nothing is changed.
    A model that cannot be loaded is a row with the reason: exit code 5, or 1 if none could be.
    """
    from lookalike_cli.connection import connect
    from lookalike_cli.evaluation import judgments as judged
    from lookalike_cli.evaluation.sample import Wanted, drawn
    from lookalike_cli.model_names import collection_in, named
    from lookalike_cli.printing import console, notice, notices, print_json
    from lookalike_cli.rendering import with_resolved_weights

    asked = Asked(judgments, same, edited, queries, None, None)
    asked.check("--judgments")
    if find_spec("numpy") is None:
        raise missing_extra("numpy")
    resource, folder = collection_in(file, collection)
    name = resource.metadata.name
    current = with_resolved_weights(resource.spec.model.alone, folder)
    texts = [text.strip() for text in models.split(",") if text.strip()]
    specs = {text: named(text, current) for text in texts}
    read = None if judgments is None else judged.read(judgments)
    if asked.caution is not None:
        notice(asked.caution)
    with (
        connect(url, data_dir, api_key) as client,
        tempfile.TemporaryDirectory(prefix="lookalike-compare-") as scratch,
        notices().status("Reading pictures") as status,
    ):
        total = client.collections.get(name).documents or 0
        count = 0

        def done() -> None:
            nonlocal count
            count += 1
            status.update(f"Reading pictures: {count}")

        wanted = Wanted(read, same, sample, queries)
        taken = drawn(client, name, wanted, Path(scratch), done)
        rows = []
        for text, spec in specs.items():
            status.update(f"Trying {text} on {len(taken.pictures)} pictures")
            tried = _tried(spec, resource.spec.vector.distance, taken, k, data_dir, Path(scratch))
            rows.append(_row(text, tried, taken, k))
    for told in _left_out(taken):
        notice(told)
    if output is Output.JSON:
        print_json(_as_json(rows, taken, name, total, k, asked.basis))
    else:
        of = f"{len(taken.pictures):,} of {total:,} documents of {name}"
        console().print(
            f"{of}, {len(taken.judgments)} queries. Relevant: {asked.basis}", markup=False
        )
        console().print(_table(rows, total, k))
        for row in rows:
            if row.reason is not None:
                console().print(f"{row.asked}: {row.reason}", markup=False, soft_wrap=True)
        console().print(
            "Fewer documents are easier to search: compare the models with one another, not with "
            "figures of the whole collection. Re-embedding: on this machine."
        )
    failed = [row for row in rows if row.reason is not None]
    if failed:
        code = ExitCode.INCOMPLETE if len(failed) < len(rows) else ExitCode.FAILED
        told = ", ".join(row.asked for row in failed)
        raise Failure(f"could not be tried: {told}. The output has the reasons", code)


def _tried(
    model: ModelSpec, distance: Distance, taken: Sample, k: int, data_dir: Path, scratch: Path
) -> dict[str, Any] | str:
    """What the trial says, or why there is none."""
    trial = {
        "model": model.model_dump(mode="json"),
        "cache_dir": str((data_dir / "weights").resolve()),
        "distance": distance.value,
        "documents": {id: str(file) for id, file in taken.pictures.items()},
        "queries": [
            {
                "kind": each.query["type"],
                "value": each.query["value"],
                "among": None if among is None else sorted(among & taken.pictures.keys()),
            }
            for each, among in zip(taken.judgments, taken.among, strict=True)
        ],
        "depth": max(k, 100),
    }
    file = scratch / "trial.json"
    file.write_text(json.dumps(trial))
    ran = subprocess.run(
        [sys.executable, "-m", "lookalike_serving.trial", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode == 0:
        found: dict[str, Any] = json.loads(ran.stdout)
        return found
    if ran.returncode < 0:
        return f"its process was killed by signal {-ran.returncode}: is there enough memory?"
    lines = [line for line in ran.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"its process ended with exit code {ran.returncode}"


def _row(text: str, tried: dict[str, Any] | str, taken: Sample, k: int) -> _Row:
    if isinstance(tried, str):
        return _Row(text, tried)
    rankings = tried.pop("rankings")
    found = [
        figures(ranking, each.relevant, len(each.relevant), k=k, depth=max(k, 100))
        for each, ranking in zip(taken.judgments, rankings, strict=True)
        if ranking is not None
    ]
    if not found:
        return _Row(text, "it can answer none of the queries: it reads no texts")
    return _Row(text, None, len(found), means(found), tried)


def _left_out(taken: Sample) -> list[str]:
    told = []
    if taken.without_picture:
        told.append(f"{taken.without_picture} documents have no picture that can be read: left out")
    if taken.not_there:
        told.append(
            f"{taken.not_there} judgments were left out: their documents are not in the collection"
        )
    return told


def _as_json(
    rows: Sequence[_Row], taken: Sample, collection: str, total: int, k: int, basis: str
) -> dict[str, Any]:
    return {
        "collection": collection,
        "documents": total,
        "sample": len(taken.pictures),
        "queries": len(taken.judgments),
        "basis": basis,
        "k": k,
        "models": [
            {"model": row.asked, "reason": row.reason}
            if row.means is None or row.facts is None
            else {
                "model": row.asked,
                "queries": row.queries,
                "figures": {name: asdict(mean) for name, mean in row.means.items()},
                **row.facts,
                "re_embedding_seconds": total / row.facts["images_per_second"],
                "vector_bytes": total * row.facts["dimension"] * 4,
            }
            for row in rows
        ],
    }


def _table(rows: Sequence[_Row], total: int, k: int) -> Any:
    from lookalike_cli.printing import shown, table

    names = [NAMES[name].format(k=k) for name in ("ndcg", "recall", "reciprocal_rank")]
    numbers = ("queries", "image", "images/s", "text", "memory", "dimension")
    made = table("model", *names, *numbers, "re-embedding all", right=numbers)
    for row in rows:
        if row.means is None or row.facts is None:
            made.add_row(shown(row.asked), "not tried: see below")
            continue
        means_of = [row.means[name] for name in ("ndcg", "recall", "reciprocal_rank")]
        facts = row.facts
        made.add_row(
            shown(row.asked),
            *(f"{each.value:.3f} ({each.low:.3f}–{each.high:.3f})" for each in means_of),
            str(row.queries),
            _milliseconds(facts["image_ms"]),
            f"{facts['images_per_second']:.1f}",
            _milliseconds(facts["text_ms"]) if facts["reads_texts"] else "reads none",
            f"{facts['memory_mib']:,.0f} MiB",
            str(facts["dimension"]),
            _cost(total, facts["images_per_second"], facts["dimension"]),
        )
    return made


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _cost(total: int, rate: float, dimension: int) -> str:
    """Of embedding all documents: time, and size of their vectors."""
    seconds, size = total / rate, total * dimension * 4 / (1 << 20)
    if seconds < 120:
        time = f"{seconds:.0f} s"
    elif seconds < 2 * _HOUR:
        time = f"{seconds / 60:.0f} min"
    else:
        time = f"{seconds / _HOUR:.1f} h"
    return f"{time}, {size:,.1f} MiB of vectors"
