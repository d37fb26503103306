"""`lookalike-operator`: parse the flags, connect, run until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from lookalike_operator.cluster import Cluster, NoCluster
from lookalike_operator.engine.lease import LeaseLost
from lookalike_operator.logs import configure
from lookalike_operator.metrics import Metrics
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.retriever import plan_retriever
from lookalike_operator.process import Operator
from lookalike_operator.reconcile import Planner
from lookalike_operator.settings import OperatorSettings, parse

log = logging.getLogger(__name__)


def main() -> None:
    settings = parse()
    configure(settings.log_level, settings.log_format)
    try:
        asyncio.run(run(settings))
    except NoCluster as error:
        sys.exit(f"lookalike-operator: {error}")
    except LeaseLost as error:
        sys.exit(f"lookalike-operator: {error}: ending, another leads")
    except OSError as error:
        sys.exit(f"lookalike-operator: {error}")


async def run(settings: OperatorSettings) -> None:
    """Until SIGTERM or SIGINT. Raises NoCluster, LeaseLost, OSError (port taken)."""
    metrics = Metrics()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with await Cluster.connect(
        settings.kubeconfig, settings.context, on_call=metrics.called
    ) as cluster:
        planner = Planner(plan_collection, plan_retriever)
        operator = Operator(settings, cluster, planner, metrics)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await operator.run(stop)
        finally:
            # kopf leaves a generator open, of which asyncio would complain on the way out.
            loop.set_exception_handler(lambda _loop, _context: None)
