"""`lookalike weights`: whole models, copied to where machines without internet access read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from lookalike_cli.failure import ExitCode, Failure, missing_extra
from lookalike_cli.options import DEFAULT_DATA_DIR, DataDir, Output, OutputFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from lookalike_crds.image_collection import ModelSpec
    from lookalike_serving.embed.places.copying import Copied

PULL_EXAMPLES = """Examples:

lookalike weights pull ViT-B-32 --to ./vit

lookalike weights pull -f collection.yaml --to s3://models/vit/

lookalike weights pull oci://registry.example/models/vit:1 --to /models/vit"""
PUSH_EXAMPLES = """Examples:

lookalike weights push ./vit --to s3://models/vit/

lookalike weights push ./vit --to oci://registry.example/models/vit:1"""

app = typer.Typer(
    help="Copy models to a folder, a bucket or a registry, for machines without internet access.",
    no_args_is_help=True,
)

To: TypeAlias = Annotated[
    str,
    typer.Option(
        "--to",
        help="A folder, s3://bucket/prefix/, gs://bucket/prefix/, az://container@account/prefix/, "
        "or oci://registry/name:tag.",
    ),
]


@app.command("pull", epilog=PULL_EXAMPLES)
def pull(
    to: To,
    model: Annotated[
        str | None,
        typer.Argument(
            help="A name of `lookalike models`, PROVIDER:NAME:WEIGHTS such as "
            "OpenClip:ViT-B-32:laion2b_s34b_b79k, or a place as --to names it."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="YAML with the ImageCollection whose model is meant."),
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="The ImageCollection, if the file has several.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Fetch all files of a model, with their checksums, to a place that spec.model can name.

    What is there already is not fetched or written again, so a run that was cut is continued.
    """
    if (model is None) == (file is None):
        raise Failure("name one model, or one file with -f", ExitCode.USAGE)
    _check_installed()
    from lookalike_serving.embed.places.copying import copy_model, copy_place, is_place

    _check_goal(to)
    cache_dir = (data_dir / "weights").resolve()
    if model is not None and model[:1] in (".", "/", "~"):
        _check_folder(
            Path(model),
            ": name a folder that `lookalike weights pull` wrote, or write PROVIDER:NAME:WEIGHTS, "
            f"such as OpenClip:NAME:{model}",
        )
    if model is not None and is_place(model):
        source = model
        _tell(lambda: copy_place(source, cache_dir, to), output)
    else:
        spec = _named(model) if model is not None else _of(file, collection)
        _tell(lambda: copy_model(spec, cache_dir, to), output)


@app.command("push", epilog=PUSH_EXAMPLES)
def push(
    folder: Annotated[Path, typer.Argument(help="A folder that `lookalike weights pull` wrote.")],
    to: To,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Copy a folder that was pulled to a bucket, a registry or another folder.

    Each file is compared with its checksum first. What is there already is not written again.
    """
    _check_installed()
    from lookalike_serving.embed.places.copying import copy_place

    _check_folder(
        folder,
        ". If it holds a model, write PROVIDER:NAME:WEIGHTS: "
        f"lookalike weights pull OpenClip:NAME:{folder} --to {to}",
    )
    _check_goal(to)
    cache_dir = (data_dir / "weights").resolve()
    _tell(lambda: copy_place(str(folder), cache_dir, to), output)


def _check_folder(folder: Path, without: str) -> None:
    """Raises Failure unless `pull` wrote it. `without`: what to do if it has no manifest."""
    from lookalike_serving.embed.places.copying import is_place

    path = folder.expanduser()
    if not path.exists():
        wrong = "does not exist"
    elif not path.is_dir():
        wrong = "is a file"
    elif not any(path.iterdir()):
        wrong = "is empty"
    elif not is_place(str(folder)):
        raise Failure(f"{folder} has no weights.json{without}", ExitCode.USAGE)
    else:
        return
    raise Failure(
        f"{folder} {wrong}: name a folder that `lookalike weights pull` wrote", ExitCode.USAGE
    )


def _check_goal(to: str) -> None:
    """Raises Failure for a folder that cannot be written, before anything is fetched."""
    import os

    from lookalike_serving.embed.places.address import is_elsewhere

    if is_elsewhere(to):
        return
    path = Path(to).expanduser().absolute()
    there = next(each for each in (path, *path.parents) if each.exists())
    if not there.is_dir():
        raise Failure(f"--to {to}: {there} is a file: name a folder", ExitCode.USAGE)
    if not os.access(there, os.W_OK | os.X_OK):
        raise Failure(
            f"--to {to}: this user may not write in {there}: name another folder, or change its "
            "permissions",
            ExitCode.USAGE,
        )


def _check_installed() -> None:
    from importlib.util import find_spec

    for module in ("torch", "huggingface_hub", "obstore"):
        if find_spec(module) is None:
            raise missing_extra(module)


def _named(model: str) -> ModelSpec:
    from lookalike_cli.model_names import named

    return named(model, None, "MODEL")


def _of(file: Path | None, collection: str | None) -> ModelSpec:
    """Raises Failure."""
    from lookalike_cli.model_names import collection_in
    from lookalike_cli.rendering import with_resolved_weights

    assert file is not None
    resource, folder = collection_in([file], collection)
    return with_resolved_weights(resource.spec.model.alone, folder)


def _tell(copy: Callable[[], Copied], output: Output) -> None:
    import logging

    from lookalike_cli.printing import console, print_json, size
    from lookalike_serving.embed.protocol import ModelError

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("lookalike.models").setLevel(logging.INFO)
    try:
        done = copy()
    except ModelError as error:
        raise Failure(str(error)) from None
    manifest = done.manifest
    if output is Output.JSON:
        print_json(
            {
                "place": done.place,
                "written": done.written,
                **manifest.model_dump(mode="json", exclude={"version"}),
            }
        )
        return
    kept = manifest.size - done.written
    also = f" ({size(kept)} were there already)" if kept else ""
    what = f"{len(manifest.files)} files, {size(manifest.size)}"
    console().print(
        f"{manifest.name}: {what} in {done.place}{also}",
        markup=False,
        soft_wrap=True,
    )
    said = {"provider": manifest.provider.value, "name": manifest.name, "weights": done.place}
    line = ", ".join(f"{key}: {value}" for key, value in said.items())
    console().print(f"model: {{ {line} }}", markup=False, soft_wrap=True)
