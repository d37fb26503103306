"""The Kubernetes operator: watch -> queue -> observe -> plan -> apply (docs/architecture.md)."""
