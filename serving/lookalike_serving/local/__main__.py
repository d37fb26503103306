"""`python -m lookalike_serving.local --config D/run/serving.json [--ingest FILE]…`

Exit codes: 0 ended by a signal, after its requests were answered; 1 cannot start; 2 the config is
wrong; 3 another server works in the data directory. The last line on standard error says why.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from lookalike_crds.config import ServingConfig
from lookalike_crds.config_file import what_is_wrong
from lookalike_serving.local.cluster import CannotStart
from lookalike_serving.local.init import become_child_of_init
from lookalike_serving.local.server import IN_A_CONTAINER, ON_ONE_MACHINE, Parent, Server, cause_of
from lookalike_serving.machine.rundir import DataDirInUse


def main() -> int:
    in_container = become_child_of_init()
    parser = argparse.ArgumentParser(prog="python -m lookalike_serving.local", description=__doc__)
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        help="a ServingConfig as JSON; what can be changed while it serves is taken from it again",
    )
    parser.add_argument(
        "--ingest",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="an IngestionConfig as JSON; run when the server is ready",
    )
    parser.add_argument("--parent", type=int, metavar="PID", help="whose end is ours")
    parser.add_argument("--parent-pipe", type=int, metavar="FD", help="closed when it ends")
    arguments = parser.parse_args()
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO
    )
    try:
        config = ServingConfig.model_validate_json(arguments.config.read_bytes())
    except OSError as failure:
        print(f"{arguments.config} cannot be read: {failure.strerror or failure}", file=sys.stderr)
        return 2
    except ValidationError as failure:
        print(f"{arguments.config} is wrong: {what_is_wrong(failure)}", file=sys.stderr)
        return 2
    parent = None
    if arguments.parent is not None and arguments.parent_pipe is not None:
        parent = Parent(arguments.parent, arguments.parent_pipe)
    ingestions = {path.stem.removeprefix("ingest-"): path for path in arguments.ingest}
    try:
        patience = IN_A_CONTAINER if in_container else ON_ONE_MACHINE
        Server(config, arguments.config, parent, patience).run(ingestions)
    except DataDirInUse:
        _end(3, f"another server works in {config.data_dir}")
    except (CannotStart, TimeoutError) as failure:
        _end(1, f"cannot start: {failure}")
    except Exception as failure:
        logging.getLogger("lookalike.local").exception("the server ended")
        _end(1, f"cannot go on: {cause_of(failure)}")
    return 0


def _end(code: int, message: str) -> NoReturn:
    """At once, so that none of Ray's threads has the last word: it is what a cluster shows."""
    sys.stdout.flush()
    print(" ".join(message.split()), file=sys.stderr, flush=True)
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
