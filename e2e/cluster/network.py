"""The node's address, the pod network, and what they leave behind in the kernel.

The node's address is a /32 on `lo`, since dummy interfaces are not in every kernel: pods reach the
API server there, through its Service. Pods hang on the host by a pair of interfaces each and are
routed, not bridged: Services then work from every pod to every pod, itself included, without
br_netfilter.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
from pathlib import Path

NODE = "10.244.255.1"
PODS = "10.244.0.0/24"
CLUSTER = "10.244.0.0/16"
DNS_SERVICE = "10.96.0.10"
_NAME = "lookalike-e2e"
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_RESULTS = Path("/var/lib/cni/results")
_STRAY = "CNI-STRAY"
"""The chain that holds back what is meant for a Service and reached none of its pods."""
_CHAINS = re.compile(r"KUBE-|CNI-")


def up(cni: Path, services: str) -> None:
    """Set up the address and the pod network's configuration. `services`: the addresses of
    Services, as a CIDR."""
    cni.mkdir(parents=True, exist_ok=True)
    before = cni.parent / "ip_forward"
    if not before.exists():
        before.write_text(_FORWARD.read_text())
    _FORWARD.write_text("1")
    _hold_back(services)
    _ip("addr", "replace", f"{NODE}/32", "dev", "lo")
    pair = {
        "type": "ptp",
        "ipMasq": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(cni.parent / "ipam"),
            "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [pair, {"type": "portmap", "capabilities": {"portMappings": True}}]
    document = {"cniVersion": "0.4.0", "name": _NAME, "plugins": plugins}
    (cni / "10-pods.conflist").write_text(json.dumps(document, indent=2))


def _hold_back(services: str) -> None:
    """Refuse connections to Services that have no pods, or that kube-proxy has not heard of yet.

    They would leave through the machine's gateway, and whatever is there would answer them.
    """
    rules = [f"-A {chain} -j {_STRAY}" for chain in ("OUTPUT", "FORWARD")]
    if set(rules) <= set(_saved("iptables", "filter")):
        return
    refused = f"-A {_STRAY} -d {services} -j REJECT"
    script = "\n".join(["*filter", f":{_STRAY} - [0:0]", refused, *rules, "COMMIT\n"])
    subprocess.run(
        ["iptables-restore", "--noflush"], input=script, text=True, capture_output=True, check=True
    )


def down(cni: Path) -> None:
    """Take away the address, the pods' namespaces, every chain of Services and CNI."""
    for namespace in _namespaces_of_pods():
        _ip("netns", "delete", namespace)
    for result in _RESULTS.glob(f"{_NAME}-*"):
        result.unlink(missing_ok=True)
    _ip("addr", "del", f"{NODE}/32", "dev", "lo")
    for family in ("iptables", "ip6tables"):
        for table in ("nat", "filter", "mangle"):
            _clear(family, table)
    before = cni.parent / "ip_forward"
    if before.exists():
        _FORWARD.write_text(before.read_text())
        before.unlink()


def leftovers() -> list[str]:
    """What of the network is still there, in words."""
    found = [f"network namespace {name}" for name in _namespaces_of_pods()]
    found += [f"route {line.strip()}" for line in _ip("route", "show", "root", PODS).splitlines()]
    if f"{NODE}/32" in _ip("-o", "addr", "show", "dev", "lo"):
        found.append(f"address {NODE} on lo")
    for family in ("iptables", "ip6tables"):
        for table in ("nat", "filter", "mangle"):
            found += [f"{family} chain {name}" for name in _chains(_saved(family, table))]
    return found


def _namespaces_of_pods() -> list[str]:
    """CNI's, with an address of our pods in them: another network's are not touched."""
    pods = ipaddress.ip_network(PODS)
    listed = [line.split()[0] for line in _ip("netns", "list").splitlines() if line.strip()]
    found = []
    for name in listed:
        addresses = re.findall(r"inet ([0-9.]+)/", _ip("-n", name, "-o", "-4", "addr", "show"))
        # One without any is a pod's whose set-up was cut off.
        ours = not set(addresses) - {"127.0.0.1"} or any(
            ipaddress.ip_address(each) in pods for each in addresses
        )
        if name.startswith("cni-") and ours:
            found.append(name)
    return found


def _clear(family: str, table: str) -> None:
    saved = _saved(family, table)
    ours = _chains(saved)
    if not ours:
        return
    # One transaction: our rules in others' chains go, then our chains, emptied before.
    script = [f"*{table}", *(f":{chain} - [0:0]" for chain in ours)]
    for line in saved:
        if not line.startswith("-A "):
            continue
        words = line.split()
        leads_to_ours = any(
            word in ("-j", "-g") and words[place + 1] in ours for place, word in enumerate(words)
        )
        if words[1] not in ours and leads_to_ours:
            script.append("-D" + line[2:])
    script += [f"-X {chain}" for chain in ours]
    script.append("COMMIT\n")
    subprocess.run(
        [f"{family}-restore", "--noflush"],
        input="\n".join(script),
        text=True,
        capture_output=True,
        check=False,
    )


def _saved(family: str, table: str) -> list[str]:
    if shutil.which(f"{family}-save") is None:
        return []
    command = [f"{family}-save", "-t", table]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def _chains(saved: list[str]) -> list[str]:
    chains = [line[1:].split()[0] for line in saved if line.startswith(":")]
    return [chain for chain in chains if _CHAINS.match(chain)]


def _ip(*arguments: str) -> str:
    """The output; nothing where there was an error, which asking for what is gone is."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0 and arguments[:2] == ("addr", "replace"):
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
