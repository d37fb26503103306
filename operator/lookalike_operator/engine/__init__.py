"""Requeue, watch, queue, lease: when a resource is looked at, never what is done about it."""
