"""`lookalike switch` and `lookalike rollback`: a person decides which model answers.

Both act on the server of this machine. On a cluster, annotations of the ImageCollection do the
same; its conditions and events show the commands.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lookalike_cli.options import DEFAULT_DATA_DIR, DataDir

Name = Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection.")]

SWITCH_EXAMPLES = """Examples:

lookalike switch products"""

ROLLBACK_EXAMPLES = """Examples:

lookalike rollback products"""


def switch(
    collection: Name,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask about what the new model does not find.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Let the new model of a collection answer, although documents or its gate hold it back.

    Documents that could not be embedded again are no longer found. They stay in the index of the
    former model for as long as that is kept.
    """
    from lookalike_cli.asking import confirm
    from lookalike_cli.printing import console

    confirm(
        f"The new model of {collection} answers from now on, and documents that it could not embed "
        "are no longer found. Continue?",
        yes=yes,
    )
    _ask("switch", collection, data_dir)
    console().print(f"the new model of {collection} answers now; `lookalike rollback` returns")


def rollback(collection: Name, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Return to the former model of a collection, while its index is kept.

    It answers as soon as what was stored, changed or deleted since is in its index. Set spec.model
    back in your file, too: the next `apply` or `up` follows the file.
    """
    from lookalike_cli.printing import console

    answer = _ask("rollback", collection, data_dir)
    if collection in answer["filling"]:
        console().print(
            f"the former model of {collection} answers as soon as its index has what was stored "
            "since: `lookalike status` shows the progress",
            soft_wrap=True,
        )
    else:
        console().print(f"the former model of {collection} answers now", soft_wrap=True)
    console().print("set spec.model back in your file: the next `apply` or `up` follows the file")


def _ask(what: str, collection: str, data_dir: Any) -> dict[str, Any]:
    from lookalike_cli.control import ask
    from lookalike_serving.machine.rundir import RunDirectory

    return ask(RunDirectory.of(data_dir), {"ask": what, "collection": collection})
