"""Which Qdrant servers the operator connects to, from its own position in the network, for others.

Whoever may write an ImageCollection chooses the address. Unless the settings of the operator allow
more, the address may only be a Service of the collection's own namespace, and an API key is never
sent over plain HTTP to an address outside of the cluster. Names are not resolved here: those who
control DNS for an allowed name, or an ExternalName Service of that namespace, decide where it
leads.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from lookalike_crds.image_collection import ImageCollectionSpec
from lookalike_operator.plan.causes import Cause
from lookalike_operator.plan.model import Meta, Settings
from lookalike_operator.plan.serving_config import qdrant_urls

_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[\w./-]*)?")
"""Characters that two parsers of addresses cannot interpret differently."""
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
REASON = "AddressNotAllowed"
EVERY = "*"


@dataclass(frozen=True, slots=True)
class _Service:
    name: str
    namespace: str


def address_problem(meta: Meta, spec: ImageCollectionSpec, settings: Settings) -> Cause | None:
    """Why the operator does not connect to the collection's server; None if it does.

    Each address is checked, and one that is not allowed makes the operator connect to none of them.
    """
    several = spec.index.qdrant is not None and spec.index.qdrant.urls is not None
    for number, url in enumerate(qdrant_urls(meta, spec, settings)):
        at = f"spec.index.qdrant.urls[{number}]" if several else "spec.index.qdrant.url"
        if (problem := _problem(url, f"{at}: {url}", meta, spec, settings)) is not None:
            return problem
    return None


def _problem(
    url: str, at: str, meta: Meta, spec: ImageCollectionSpec, settings: Settings
) -> Cause | None:
    host = _host(url)
    if host is None:
        return Cause(REASON, f"{at} is not an address: write http(s)://host:port")
    service = _service(host, meta.namespace, settings)
    own = service is not None and service.namespace == meta.namespace
    if not own and not any(_allows(each, host, settings) for each in settings.qdrant_addresses):
        return Cause(
            REASON,
            f"{at} is neither a Service of namespace {meta.namespace} nor among the addresses "
            "that the operator may connect to: use serviceRef, or have it added to the chart "
            "value qdrant.allowedAddresses",
        )
    keyed = spec.index.qdrant is not None and spec.index.qdrant.api_key_secret_ref is not None
    if keyed and url.startswith("http://") and not (service or _is_private(host)):
        return Cause(
            REASON,
            f"{at} would receive the API key unencrypted, outside of the cluster: write https://",
        )
    return None


def asked_urls(meta: Meta, spec: ImageCollectionSpec, settings: Settings) -> tuple[str, ...]:
    """The collection's server as the operator's pod reaches it.

    A short name is a Service of the collection's namespace; the DNS search path of the operator
    would look for it in the operator's own namespace.
    """
    return tuple(_asked(url, meta, settings) for url in qdrant_urls(meta, spec, settings))


def _asked(url: str, meta: Meta, settings: Settings) -> str:
    host = _host(url)
    service = None if host is None else _service(host, meta.namespace, settings)
    if host is None or service is None or service.namespace != meta.namespace:
        return url
    whole = f"{service.name}.{service.namespace}.svc.{settings.cluster_domain}"
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{whole}{rest[len(host) :].removeprefix('.')}"


def address_entry_problem(entry: str) -> str | None:
    """What is wrong with an entry of the setting, or None."""
    if entry == EVERY or _network(entry) is not None:
        return None
    if re.fullmatch(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", entry):
        return None
    return f"{entry!r} is not a host, *.domain, IP address, CIDR or *"


def _host(url: str) -> str | None:
    """None if it is not an address."""
    if not _URL.fullmatch(url):
        return None
    try:
        return (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:  # brackets around what is no IPv6 address
        return None


def _service(host: str, namespace: str, settings: Settings) -> _Service | None:
    """The Service that a host names in the cluster's DNS."""
    for suffix in (f".svc.{settings.cluster_domain}", ".svc"):
        if host.endswith(suffix):
            parts = host.removesuffix(suffix).split(".")
            return _Service(parts[-2], parts[-1]) if len(parts) == 2 else None
    parts = host.split(".")
    if len(parts) == 1 and _NAME.fullmatch(host):
        return _Service(host, namespace)
    # Of another namespace, two labels could as well be a domain of the world.
    return _Service(*parts) if len(parts) == 2 and parts[1] == namespace else None


def _allows(entry: str, host: str, settings: Settings) -> bool:
    if entry == EVERY:
        return True
    network = _network(entry)
    if network is not None:
        address = _address(host)
        return address is not None and address in network
    forms = {host, host.removesuffix(f".svc.{settings.cluster_domain}"), host.removesuffix(".svc")}
    name = entry.lower()
    names = {name, name.removesuffix(f".svc.{settings.cluster_domain}"), name.removesuffix(".svc")}
    if name.startswith("*."):
        return any(form.endswith(each[1:]) for form in forms for each in names)
    return not forms.isdisjoint(names)


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_private(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_private
