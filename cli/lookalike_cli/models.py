"""`lookalike models`: models that are worth knowing, and those that a server has loaded."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

if TYPE_CHECKING:
    from lookalike import Model
    from lookalike.types import Execution
    from lookalike_serving.embed.catalogue import Known

_UNITS = "milliseconds for each image or text in batches of 1 and of 8"
EXAMPLES = """Examples:

lookalike models

lookalike models ViT-B-16-SigLIP2

lookalike models --output json"""


def models(
    name: Annotated[
        str | None, typer.Argument(help="Show this one in full, with the YAML that selects it.")
    ] = None,
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Show models that are worth knowing, and the models that the server has loaded.

    The list is advice: every model of open_clip and timm can be used, and any ONNX graph.
    """
    from lookalike_cli.printing import console, print_json
    from lookalike_serving.embed.catalogue import CATALOGUE

    if name is not None:
        known = [each for each in CATALOGUE if name.lower() in _names(each)]
        if not known:
            listed = ", ".join(each.name or each.provider for each in CATALOGUE)
            raise Failure(f"no model {name!r} in the list: {listed}", ExitCode.USAGE)
        if output is Output.JSON:
            print_json([_facts(each) for each in known])
        else:
            for each in known:
                _print_one(each)
        return
    loaded = _loaded(url, data_dir, api_key)
    if output is Output.JSON:
        told = None if loaded is None else [each.model_dump(mode="json") for each in loaded]
        print_json({"loaded": told, "known": [_facts(each) for each in CATALOGUE]})
        return
    if loaded is not None:
        console().print("Loaded by the server:")
        console().print(_loaded_table(loaded))
        for model in loaded:
            if model.execution is not None and model.execution.trials:
                console().print(f"Measured for {model.name}, {_UNITS}:", markup=False)
                console().print(_trials_table(model.execution))
    console().print("Worth knowing (`lookalike models NAME` shows one in full):", markup=False)
    console().print(_known_table(CATALOGUE))
    console().print(
        "Languages of texts are those that the publishers claim, not measured here; only the demo "
        "model's are measured.",
        markup=False,
    )


def _loaded(url: str | None, data_dir: Path, api_key: str | None) -> list[Model] | None:
    """None if there is no server to ask: none was named, and none was started from here."""
    from lookalike_cli.connection import connect
    from lookalike_serving.machine.rundir import RunDirectory

    if url is None and not RunDirectory.of(data_dir).is_locked():
        return None
    with connect(url, data_dir, api_key) as client:
        return list(client.models.list())


def _names(known: Known) -> set[str]:
    said = {known.provider} if known.name is None else {known.name, known.name.partition(".")[0]}
    return {each.lower() for each in said}


def _facts(known: Known) -> dict[str, Any]:
    return {key: value for key, value in asdict(known).items() if value is not None}


def _known_table(known: tuple[Known, ...]) -> Any:
    from lookalike_cli.printing import shown, table

    numbers = ("dimension", "pixels", "million parameters", "zero-shot")
    made = table("provider", "name", *numbers, "texts", "licence", "use", right=numbers)
    for each in known:
        made.add_row(
            each.provider,
            shown(each.name),
            str(each.dimension),
            str(each.image_size),
            "" if each.parameters is None else f"{each.parameters:,.0f}",
            "" if each.zero_shot is None else f"{each.zero_shot:.1f} %",
            each.languages or "none",
            each.licence,
            each.use,
        )
    return made


def _loaded_table(loaded: list[Model]) -> Any:
    from lookalike_cli.printing import shown, table

    made = table(
        "name", "provider", "weights", "dimension", "device", "runs on", "collections", "it",
        right=("dimension",),
    )  # fmt: skip
    for each in loaded:
        facts = (each.name, each.provider, each.weights, each.dimension, each.device)
        collections = ", ".join(each.collections)
        made.add_row(*map(shown, (*facts, _runs_on(each), collections, each.ability)))
    return made


def _runs_on(model: Model) -> str | None:
    execution = model.execution
    if execution is None:
        return model.precision
    image, text = (
        None if way is None else f"{way.engine} {way.precision}"
        for way in (execution.image, execution.text)
    )
    told = image if text in (None, image) else f"{image}, texts {text}"
    by = {"Spec": "as asked", "Estimate": "estimated", "Measurement": "measured"}
    return f"{told} ({by.get(execution.chosen_by or '', execution.chosen_by)})"


def _trials_table(execution: Execution) -> Any:
    from lookalike_cli.printing import table

    numbers = ("image, 1", "image, 8", "text, 1", "text, 8", "cosine")
    made = table("way", *numbers, "chosen", right=numbers)
    for each in execution.trials:
        chosen = [
            kind
            for kind, way in (("images", execution.image), ("texts", execution.text))
            if way == each.way
        ]
        cosines = [c for c in (each.image_cosine, each.text_cosine) if c is not None]
        made.add_row(
            f"{each.way.engine} {each.way.precision}",
            *_two(each.image_ms),
            *_two(each.text_ms),
            f"{min(cosines):.5f}" if cosines else "",
            each.left_out or ", ".join(chosen),
        )
    return made


def _two(took: tuple[float, ...]) -> tuple[str, str]:
    first, second, *_ = (*(f"{ms:.1f}" for ms in took), "", "")
    return first, second


def _languages(known: Known) -> str:
    if known.languages is None:
        return "none: pictures are found by pictures alone"
    source = "measured" if known.languages_measured else "as published; not measured here"
    return f"{known.languages} ({source})"


def _print_one(known: Known) -> None:
    from lookalike_cli.printing import console, table

    made = table("", "")
    made.show_header = False
    zero_shot = (
        known.zero_shot and f"{known.zero_shot:.1f} % of ImageNet ({known.zero_shot_source})"
    )
    for label, value in (
        ("use", known.use),
        ("dimension", known.dimension),
        ("input", f"{known.image_size} x {known.image_size} pixels"),
        ("parameters", known.parameters and f"{known.parameters:,.1f} million"),
        ("texts", _languages(known)),
        ("licence", known.licence),
        ("weights", known.source),
        ("zero-shot", zero_shot),
    ):
        if value is not None:
            made.add_row(label, str(value))
    console().print(made)
    parts = [("provider", known.provider), ("name", known.name), ("weights", known.weights)]
    said = ", ".join(f"{key}: {value}" for key, value in parts if value is not None)
    console().print(f"model: {{ {said} }}", markup=False, soft_wrap=True)
