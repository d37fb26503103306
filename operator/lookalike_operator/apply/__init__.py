"""Carries out a plan: server-side apply, prune, Qdrant calls, status, events."""
