"""Which network addresses a caller's URL may make this service connect to.

A search service that fetches what callers name is a way into its own network: cloud metadata, the
cluster's API, a database on localhost. So every address is checked after the name is resolved, in
whatever form it was written, and IPv6 forms that contain an IPv4 address are checked by that
address.
"""

from __future__ import annotations

import ipaddress

# Not private by any registry, but answered by the platform itself.
_METADATA = {
    ipaddress.ip_address("168.63.129.16"),  # Azure's wire server
    ipaddress.ip_address("169.254.169.254"),
    ipaddress.ip_address("100.100.100.200"),  # Alibaba Cloud
    ipaddress.ip_address("fd00:ec2::254"),
}
_SPECIAL_V4 = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments; Oracle Cloud's metadata
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291: all that is routed today
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")  # RFC 9637, unknown to older Pythons
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052; 64:ff9b:1::/48 is for local use


def is_public(address: str) -> bool:
    """Whether a resolved address, as `getaddrinfo` gives it, is one of the open internet."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])  # fe80::1%eth0
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_public_v4(parsed)
    return _is_public_v6(parsed)


def is_of_the_platform(address: str) -> bool:
    """Whether a resolved address is link-local or of a platform's metadata: what no service of
    buckets has, and what hands out the credentials of the machine."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_link_local or parsed in _METADATA


def _is_public_v4(address: ipaddress.IPv4Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and address not in _METADATA
        and not any(address in network for network in _SPECIAL_V4)
    )


def _is_public_v6(address: ipaddress.IPv6Address) -> bool:
    # Only ::ffff:0:0/96 reaches the IPv4 network by itself; the others need a gateway, which a
    # cluster may well have. An IPv6-only cluster reaches the whole IPv4 internet through NAT64.
    carried = address.ipv4_mapped or address.sixtofour
    if carried is None and address in _NAT64:
        carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if carried is not None:
        return _is_public_v4(carried)
    return (
        address.is_global
        and address in _GLOBAL_UNICAST
        and address not in _DOCUMENTATION
        and address not in _METADATA
    )
