"""`lookalike-operator`: parse the flags, connect, and let kopf run the handlers."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import kopf

# Importing them is what registers them with kopf.
from lookalike_operator import handlers as handlers
from lookalike_operator.cluster import FIELD_MANAGER, NoCluster
from lookalike_operator.engine.lease import LeaseLost
from lookalike_operator.logs import configure
from lookalike_operator.process import Operator
from lookalike_operator.settings import OperatorSettings, parse


def main() -> None:
    settings = parse()
    configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(_main(settings))
    except LeaseLost as error:
        sys.exit(f"lookalike-operator: {error}: this process ends, since another one leads")
    except (NoCluster, OSError) as error:
        sys.exit(f"lookalike-operator: {error}")


async def _main(settings: OperatorSettings) -> None:
    await run(await Operator.connect(settings))


async def run(operator: Operator, stop: asyncio.Event | None = None) -> None:
    """Until SIGTERM, SIGINT, or `stop`, for a thread that gets no signals.

    Raises what ended it otherwise: LeaseLost, OSError if the port is taken, …
    """
    namespaces = operator.settings.namespaces
    try:
        await kopf.operator(
            memo=kopf.Memo(operator=operator),
            # Otherwise kopf asks for the user's name, and a pod's user has none.
            identity=cast(Any, FIELD_MANAGER),
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
        )
    finally:
        if operator.failure is not None:
            # kopf leaves its connections open after such a cleanup, and asyncio would complain.
            asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
            raise operator.failure
