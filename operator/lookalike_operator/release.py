"""Removes everything that the operator holds; runs when a release is uninstalled.

    python -m lookalike_operator.release [--namespace NAME …] [--release-namespace NAME]
        [--lease-namespace NAME] [--kubeconfig FILE]

A collection whose index on a Qdrant server is to be deleted with it carries a finalizer. Without
the operator nobody would remove it, and neither the collection nor its namespace could ever be
deleted. So the finalizers are removed with the operator. An operator that is installed later adds
them again.

The operator itself can release neither its lease nor its marks on namespaces, because its
permissions are deleted before its pod ends. An operator that is installed at once would wait until
the lease has expired, and another release until nobody has answered for a mark. If another release
is active in one of these namespaces, it adds its finalizers again at once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from lookalike_operator.cluster import ApiError, Cluster, NoCluster
from lookalike_operator.engine.lease import LEASE_NAME
from lookalike_operator.engine.namespaces import delete_mark, read_marks, release_name
from lookalike_operator.kinds import IMAGE_COLLECTION, LEASE
from lookalike_operator.plan.names import FINALIZER

_ATTEMPTS = 5


async def release(cluster: Cluster, namespaces: Sequence[str] = ()) -> int:
    """Remove our finalizer from every collection. Returns how many had it. Raises ApiError."""
    released = 0
    for namespace in namespaces or (None,):
        try:
            listed = await cluster.list(IMAGE_COLLECTION, namespace)
        except ApiError as error:
            if error.status == 404:  # the definition is gone, and with it every collection
                continue
            raise
        for each in listed.items:
            meta = each["metadata"]
            if FINALIZER in (meta.get("finalizers") or ()):
                released += await _let_go(cluster, meta["namespace"], meta["name"])
    return released


async def _let_go(cluster: Cluster, namespace: str, name: str) -> bool:
    """Whether there was anything to take off, by the time it was done."""
    for attempt in range(_ATTEMPTS):
        live = await cluster.get(IMAGE_COLLECTION, namespace, name)
        finalizers = (live or {}).get("metadata", {}).get("finalizers") or []
        if live is None or FINALIZER not in finalizers:
            return False
        kept = [each for each in finalizers if each != FINALIZER]
        # With the version, so that nobody else's finalizer is written over.
        version = live["metadata"]["resourceVersion"]
        body = {"metadata": {"finalizers": kept, "resourceVersion": version}}
        try:
            await cluster.patch(IMAGE_COLLECTION, namespace, name, body)
            return True
        except ApiError as error:
            if error.status == 404:
                return False
            if not error.conflict or attempt == _ATTEMPTS - 1:
                raise
    return False


async def release_lease(cluster: Cluster, namespace: str) -> None:
    """Let another process lead at once. Raises ApiError."""
    spec = {"holderIdentity": "", "leaseDurationSeconds": 1}
    try:
        await cluster.patch(LEASE, namespace, LEASE_NAME, {"spec": spec})
    except ApiError as error:
        if error.status != 404:
            raise


async def release_marks(cluster: Cluster, release: str, namespaces: Sequence[str] = ()) -> None:
    """Let another release that watches these namespaces begin at once. Raises ApiError."""
    for mark in (await read_marks(cluster, namespaces)).values():
        await delete_mark(cluster, mark, release)


async def _run(arguments: argparse.Namespace) -> int:
    namespaces: list[str] = arguments.namespace
    async with await Cluster.connect(arguments.kubeconfig) as cluster:
        if arguments.lease_namespace is not None:
            await release_lease(cluster, arguments.lease_namespace)
        released = await release(cluster, namespaces)
        if arguments.release_namespace is not None:
            await release_marks(cluster, release_name(arguments.release_namespace), namespaces)
        return released


def main() -> int:
    parser = argparse.ArgumentParser(prog="lookalike_operator.release", description=__doc__)
    parser.add_argument(
        "--namespace", action="append", default=[], help="namespaces; all if not given"
    )
    parser.add_argument(
        "--release-namespace", help="name of the release's namespace; if not given, its marks stay"
    )
    parser.add_argument(
        "--lease-namespace", help="name of the Lease's namespace; if not given, the Lease stays"
    )
    parser.add_argument("--kubeconfig", help="path of a kubeconfig, outside a cluster")
    arguments = parser.parse_args()
    try:
        released = asyncio.run(_run(arguments))
    except (ApiError, NoCluster) as error:
        print(f"the finalizers could not be removed: {error}", file=sys.stderr)
        return 1
    print(
        f"removed the finalizer of {released} collections; their indexes stay on the Qdrant server"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
