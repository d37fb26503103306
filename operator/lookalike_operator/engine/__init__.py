"""Queue, watch and lease: when a resource is reconciled, never what is done about it."""
