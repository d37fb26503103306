"""The Kubernetes operator: watch -> keyed queue -> observe -> plan -> apply (docs/architecture.md)."""
