"""Live cluster, Qdrant and Prometheus -> frozen snapshots."""
