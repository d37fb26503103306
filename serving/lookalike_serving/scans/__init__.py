"""Duplicate scans: which documents of a collection are the same picture, and which one to keep.

    documents, in the order of their ids --run--> pairs --groups--> groups, each with a keeper
                                                                        |
                                        a person looks at the report, and `apply` deletes the rest

`record.py` holds what a scan is, all pure; `store.py` keeps records next to the collection's other
ones; `keepers.py` and `groups.py` decide, and are pure; `pictures.py` reads and compares pictures
(with the verdicts of `lookalike_serving.duplicates`); `run.py` does the work, `runner.py` decides
when; `apply.py` deletes. The gateway has the routes (`gateway/duplicate_scans.py`).

A scan outlives its process: what was found is recorded every few dozen documents, and a scan that
was killed continues from there, with the same result.
"""
