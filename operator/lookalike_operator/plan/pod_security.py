"""The restricted pod security standard, as Kubernetes' own admission checks it (v1.34).

https://kubernetes.io/docs/concepts/security/pod-security-standards/. It is stricter in one point:
the rules for Linux pods apply to all pods, since our images are for Linux.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
Path = tuple[str | int, ...]


class Violation(NamedTuple):
    path: Path
    """Within the PodTemplateSpec; numbers are places in lists."""
    message: str


_VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"),
        *("persistentVolumeClaim", "projected", "secret"),
    }
)
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
_SELINUX_TYPES = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
_PROFILES = ("RuntimeDefault", "Localhost")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def violations(template: Mapping[str, Any]) -> Iterator[Violation]:
    """What the restricted standard would refuse in pods of this PodTemplateSpec."""
    metadata = mapping(template.get("metadata"))
    for name, value in mapping(metadata.get("annotations")).items():
        if name.startswith(_APPARMOR) and not _is_apparmor_profile(value):
            yield Violation(("metadata", "annotations", name), "must be runtime/default")
    spec = mapping(template.get("spec"))
    for path, message in _of_pod(spec):
        yield Violation(("spec", *path), message)
    pod_context = mapping(spec.get("securityContext"))
    for group in CONTAINER_LISTS:
        for i, container in enumerate(items(spec.get(group))):
            for path, message in _of_container(container, pod_context):
                yield Violation(("spec", group, i, *path), message)


def _of_pod(spec: Mapping[str, Any]) -> Iterator[Violation]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield Violation((key,), "must be false")
    for i, volume in enumerate(items(spec.get("volumes"))):
        for kind, source in volume.items():
            if kind != "name" and kind not in _VOLUMES and source is not None:
                yield Violation(
                    ("volumes", i, kind), "is not allowed: name a PersistentVolumeClaim instead"
                )
    context = mapping(spec.get("securityContext"))
    for i, sysctl in enumerate(items(context.get("sysctls"))):
        if sysctl.get("name") not in _SYSCTLS:
            yield Violation(("securityContext", "sysctls", i), "is not among the safe ones")
    yield from _of_context(context)


def _of_container(
    container: Mapping[str, Any], pod_context: Mapping[str, Any]
) -> Iterator[Violation]:
    context = mapping(container.get("securityContext"))
    yield from _of_context(context)
    at = "securityContext"
    if context.get("privileged"):
        yield Violation((at, "privileged"), "must be false")
    if context.get("allowPrivilegeEscalation") is not False:
        yield Violation((at, "allowPrivilegeEscalation"), "must be written as false")
    capabilities = mapping(context.get("capabilities"))
    if "ALL" not in _texts(capabilities.get("drop")):
        yield Violation((at, "capabilities", "drop"), "must be written as [ALL]")
    if set(_texts(capabilities.get("add"))) - {"NET_BIND_SERVICE"}:
        yield Violation((at, "capabilities", "add"), "may contain only NET_BIND_SERVICE")
    if context.get("procMount") not in (None, "Default"):
        yield Violation((at, "procMount"), "must be Default")
    if context.get("runAsNonRoot") is None and pod_context.get("runAsNonRoot") is not True:
        yield Violation((at, "runAsNonRoot"), "must be true, here or for the whole pod")
    profile = mapping(context.get("seccompProfile")).get("type")
    if profile is None and mapping(pod_context.get("seccompProfile")).get("type") is None:
        yield Violation(
            (at, "seccompProfile"), "must be of type RuntimeDefault, here or for the whole pod"
        )
    for i, port in enumerate(items(container.get("ports"))):
        if port.get("hostPort"):
            yield Violation(("ports", i, "hostPort"), "is not allowed")
    for probe in _PROBES:
        yield from _of_handler((probe,), mapping(container.get(probe)))
    for hook, handler in mapping(container.get("lifecycle")).items():
        yield from _of_handler(("lifecycle", hook), mapping(handler))


def _of_context(context: Mapping[str, Any]) -> Iterator[Violation]:
    """What pods and containers have in common."""
    at = "securityContext"
    if context.get("runAsNonRoot") is False:
        yield Violation((at, "runAsNonRoot"), "must be true")
    if context.get("runAsUser") == 0:
        yield Violation((at, "runAsUser"), "must not be 0")
    for kind in ("seccompProfile", "appArmorProfile"):
        profile = mapping(context.get(kind)).get("type")
        if profile is not None and profile not in _PROFILES:
            yield Violation((at, kind, "type"), "must be RuntimeDefault or Localhost")
    selinux = mapping(context.get("seLinuxOptions"))
    if (selinux.get("type") or "") not in _SELINUX_TYPES:
        yield Violation((at, "seLinuxOptions", "type"), "is not one that containers may have")
    for key in ("user", "role"):
        if selinux.get(key):
            yield Violation((at, "seLinuxOptions", key), "is not allowed")
    if mapping(context.get("windowsOptions")).get("hostProcess"):
        yield Violation((at, "windowsOptions", "hostProcess"), "must be false")


def _of_handler(at: Path, handler: Mapping[str, Any]) -> Iterator[Violation]:
    for kind in ("httpGet", "tcpSocket"):
        if mapping(handler.get(kind)).get("host"):
            yield Violation(
                (*at, kind, "host"), "is not allowed: probes are sent to the pod itself"
            )


def _is_apparmor_profile(value: Any) -> bool:
    return value in ("", "runtime/default") or str(value).startswith("localhost/")


def mapping(value: Any) -> Mapping[str, Any]:
    """`value`, or nothing if it is not what the API server would take at this place."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Mapping[str, Any]]:
    """The same for a list of objects; places stay what they are."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return []
    return [mapping(each) for each in value]


def _texts(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else []
