"""The node's address, the pod network, and what they leave behind in the kernel.

The node's address is a /32 on `lo`, since dummy interfaces are not in every kernel: pods reach the
API server there, through its Service.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

NODE = "10.244.255.1"
PODS = "10.244.0.0/24"
DNS_SERVICE = "10.96.0.10"
_BRIDGE = "lookalike0"
_CHAINS = re.compile(r"KUBE-|CNI-|cali-")


def up(cni: Path) -> None:
    """Set up the address and the pod network's configuration."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _ip("addr", "replace", f"{NODE}/32", "dev", "lo")
    cni.mkdir(parents=True, exist_ok=True)
    bridge = {
        "type": "bridge",
        "bridge": _BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(cni.parent / "ipam"),
            "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    document = {"cniVersion": "0.4.0", "name": "lookalike-e2e", "plugins": plugins}
    (cni / "10-bridge.conflist").write_text(json.dumps(document, indent=2))


def down() -> None:
    """Take the address, the bridge, and every chain of kube-proxy and CNI away."""
    _ip("link", "delete", _BRIDGE, check=False)
    _ip("addr", "del", f"{NODE}/32", "dev", "lo", check=False)
    for table in ("nat", "filter", "mangle"):
        _clear(table)


def _clear(table: str) -> None:
    listed = subprocess.run(
        ["iptables-save", "-t", table], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    rules = [line for line in listed if line.startswith("-A ")]
    chains = [line[1:].split()[0] for line in listed if line.startswith(":")]
    ours = [chain for chain in chains if _CHAINS.match(chain)]
    if not ours:
        return
    # One transaction: our rules in others' chains go, then our chains, emptied before.
    script = [f"*{table}", *(f":{chain} - [0:0]" for chain in ours)]
    for rule in rules:
        chain = rule.split()[1]
        if chain not in ours and any(f"-j {name}" in rule for name in ours):
            script.append("-D" + rule[2:])
    script += [f"-X {chain}" for chain in ours]
    script.append("COMMIT\n")
    subprocess.run(
        ["iptables-restore", "--noflush"],
        input="\n".join(script),
        text=True,
        capture_output=True,
        check=False,
    )


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
