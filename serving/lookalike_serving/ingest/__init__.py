"""Ingestion: from sources to points of an index.

    source --list--> items --driver: what changed?--> chunks of keys --> workers
    worker: fetch -> decode -> embed -> upsert

The driver (`run.py`) hands out keys, never pixels: a decoded image costs more to pass between
processes than to decode. Every step can be repeated without harm, since a document's point id
follows from its id; a run that is killed is simply run again.
"""
