"""The operator as kopf runs it: startup, login, the watch of both kinds, probe, cleanup.

    kopf run -m lookalike_operator.handlers -A        or        lookalike-operator

kopf owns the process: it handles signals, calls the handlers below, and keeps a watch of each of
our two kinds alive. An event changes the store and nothing else. The keyed queue decides when a
resource is reconciled (engine/queue.py), and the planner what is done about it (plan/).

There is no handler for creation, update or deletion, no timer and no daemon: kopf would keep their
state in annotations and finalizers of every resource (docs/adr/0008-watching-and-writing.md).

`kopf run` takes the settings of the operator from the environment (LOOKALIKE_SERVING_IMAGE and so
on); `lookalike-operator` passes kopf an `Operator` that is built from its flags.
"""

from __future__ import annotations

from typing import Any

import kopf

from lookalike_crds.base import GROUP, VERSION
from lookalike_operator.cluster import NoCluster
from lookalike_operator.engine.lease import LeaseLost
from lookalike_operator.process import Operator
from lookalike_operator.settings import parse

_PAGE = 500
"""Resources in one answer of the API server."""


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf prepares to detect changes even if no handler asks for them, and copies each object."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        pass


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Only watches: nothing is written by kopf, and no right is needed but to read both kinds."""
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.posting.enabled = False
    # Replicas agree by a Lease (engine/lease.py), releases by a mark (engine/namespaces.py).
    settings.peering.standalone = True
    # `start` waits until both kinds are there, so kopf need not watch definitions and namespaces.
    settings.scanning.disabled = True
    settings.watching.chunk_size = _PAGE
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 150
    settings.networking.request_timeout = 30
    # An API server may be away for long; whoever must not wait for it loses the lease.
    settings.networking.error_backoffs = (0.5, 1, 2, 5, 10, *([20] * 1000))
    settings.queueing.idle_timeout = 0.05
    settings.queueing.exit_timeout = 1.0


@kopf.on.startup(errors=kopf.ErrorsMode.PERMANENT)
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Wait until this process leads and has listed everything; kopf watches from then on."""
    try:
        if "operator" not in memo:
            memo.operator = await _from_environment(clusterwide=settings.peering.clusterwide)
        await memo.operator.start()
    except (NoCluster, LeaseLost, OSError) as error:
        raise kopf.PermanentError(str(error)) from error


async def _from_environment(*, clusterwide: bool) -> Operator:
    """For `kopf run`, which knows no flags but its own."""
    ours = parse([])
    if clusterwide == bool(ours.namespaces):
        raise kopf.PermanentError(
            "kopf and the operator must watch the same namespaces: give `kopf run` -A if "
            "LOOKALIKE_NAMESPACES is not set, or else -n with each namespace that it names"
        )
    return await Operator.connect(ours)


@kopf.on.login()
async def login(memo: kopf.Memo, **_: Any) -> kopf.ConnectionInfo:
    """With the credentials that the operator's own client uses."""
    configuration = memo.operator.cluster.configuration
    token = await configuration.get_api_key_with_prefix("BearerToken")
    scheme, _separator, credentials = (token or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=credentials or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


@kopf.on.event(GROUP, VERSION, "imagecollections")
@kopf.on.event(GROUP, VERSION, "retrievers")
async def take_in(event: Any, memo: kopf.Memo, **_: Any) -> None:
    """One version of a resource, from a list or from the watch."""
    store = memo.operator.store
    live = dict(event["object"])
    if event["type"] == "DELETED":
        store.remove(live)
    else:
        store.put(live)


@kopf.on.probe(id="operator")
def alive(memo: kopf.Memo, **_: Any) -> str:
    """For `kopf run --liveness`; `/healthz` on the operator's own port says the same."""
    if (missing := memo.operator.missing_for_life()) is not None:
        raise kopf.PermanentError(missing)
    return "ok"


@kopf.on.cleanup(errors=kopf.ErrorsMode.PERMANENT)
async def stop(memo: kopf.Memo, **_: Any) -> None:
    """Finish the reconciles under way and give the lease back; report what ended the operator."""
    await memo.operator.stop()
    if (failure := memo.operator.failure) is not None:
        raise kopf.PermanentError(str(failure)) from failure
