"""`lookalike up`: everything a file describes, on this machine."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from lookalike_cli.failure import ExitCode, Failure, missing_extra
from lookalike_cli.options import DEFAULT_DATA_DIR, DataDir, Files, Output, OutputFormat
from lookalike_crds.hosts import is_loopback

EXAMPLES = """Examples:

lookalike up -f examples/quickstart.yaml

lookalike up -f my.yaml --detach --wait --port 8123 --data-dir /srv/images

lookalike up -f my.yaml --host 0.0.0.0 --api-keys-file keys.txt"""


def up(
    file: Files,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; addresses other than loopback require API keys."),
    ] = "127.0.0.1",
    api_keys_file: Annotated[
        Path | None, typer.Option(help="File with API keys, one per line, which callers then need.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when the server is ready.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="With --detach: return when all images are ingested.")
    ] = False,
    no_ingest: Annotated[
        bool, typer.Option("--no-ingest", help="Serve what is indexed, and read no sources.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Apply the files whenever they are saved.")
    ] = False,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Start everything that the files describe on this machine, and ingest the images.

    Runs until Ctrl-C, unless detached. If a server was killed, run the same command again: nothing
    has to be repaired.
    """
    from lookalike_cli.apply import take_over
    from lookalike_cli.resources import load, print_warnings, refuse_errors
    from lookalike_cli.watching import Watch

    if wait and not detach:
        raise Failure("--wait requires --detach", ExitCode.USAGE)
    if watch and detach:
        raise Failure("--watch keeps running to watch the files: remove --detach", ExitCode.USAGE)
    # Before the files are read: what is saved from now on is a change.
    watching = Watch(file, lambda: take_over(file, data_dir)) if watch else None
    resources = load(file, output)
    _check_access(host, api_keys_file)
    for module in ("ray", "torch", "qdrant_edge"):
        if find_spec(module) is None:  # importing them here would take seconds
            raise missing_extra(module)
    from lookalike_cli.launch import launch
    from lookalike_cli.preflight import checked
    from lookalike_cli.server_process import Start

    resources = checked(resources, sources=not no_ingest)
    refuse_errors(resources, output)
    print_warnings(resources)
    launch(
        resources,
        Start(data_dir, host, port, api_keys_file, detached=detach, ingest=not no_ingest),
        wait=wait,
        output=output,
        watch=watching,
    )


def _check_access(host: str, api_keys_file: Path | None) -> None:
    if api_keys_file is None:
        if not is_loopback(host):
            raise Failure(
                f"--host {host} is open to the network: give --api-keys-file FILE with the keys "
                "that callers need, one per line, or listen on 127.0.0.1",
                ExitCode.USAGE,
            )
        return
    lines = api_keys_file.read_text("utf-8-sig").splitlines()
    if not any(line.strip() and not line.lstrip().startswith("#") for line in lines):
        raise Failure(f"{api_keys_file} contains no API key: write one per line")
