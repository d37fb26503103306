"""A real Kubernetes on this machine, without Docker.

Two profiles of the same parts: `control_plane()` is etcd, the API server and the controller manager
on free ports of loopback, up in seconds, several at a time; `Node` is one whole node – scheduler,
containerd, kubelet, kube-proxy, pod network, CoreDNS, volumes – one a machine, as root.

The Kubernetes programs are built from the pinned Go modules under `go/`, once, and cached outside
the checkout; etcd, containerd, runc and the CNI plugins are Debian's.
"""
