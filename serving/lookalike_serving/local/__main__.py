"""`python -m lookalike_serving.local --config D/run/serving.json [--ingest NAME=FILE]…`"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from pydantic import ValidationError

from lookalike_crds.config import ServingConfig
from lookalike_serving.local.cluster import CannotStart
from lookalike_serving.local.rundir import DataDirInUse
from lookalike_serving.local.server import Parent, Server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lookalike_serving.local", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="a ServingConfig as JSON")
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
    except (OSError, ValidationError) as failure:
        print(f"{arguments.config}: {failure}", file=sys.stderr)
        return 2
    parent = None
    if arguments.parent is not None and arguments.parent_pipe is not None:
        parent = Parent(arguments.parent, arguments.parent_pipe)
    ingestions = {path.stem.removeprefix("ingest-"): path for path in arguments.ingest}
    try:
        Server(config, arguments.config, parent).run(ingestions)
    except DataDirInUse:
        print(f"another server works in {config.data_dir}", file=sys.stderr)
        return 3
    except (CannotStart, TimeoutError) as failure:
        print(f"cannot start: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
