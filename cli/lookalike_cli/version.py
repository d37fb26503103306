"""`lookalike version`."""

from __future__ import annotations

from lookalike_cli.options import Output, OutputFormat


def version(output: OutputFormat = Output.TEXT) -> None:
    """Print the versions of Lookalike and of the installed parts that it runs on."""
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from lookalike.version import __version__
    from lookalike_cli.printing import console, print_json

    versions = {"lookalike": __version__, "python": platform.python_version()}
    for name in ("ray", "torch", "qdrant-edge-py"):
        try:
            versions[name] = installed(name)
        except PackageNotFoundError:
            continue
    if output is Output.JSON:
        print_json(versions)
        return
    for name, number in versions.items():
        console().print(f"{name} {number}")
