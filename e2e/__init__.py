"""End-to-end tests on a real Kubernetes node, and the node itself."""
