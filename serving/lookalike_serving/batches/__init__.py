"""Batches: many images handed over in one request, stored while the caller does something else.

    submissions --intake--> items --store--> index (payload-only points)
                                                |
                                      runner: QUEUED items -> `store_document`
                                                |
                                 outcomes --store--> index;  routes read both

`record.py` holds what a batch is and its rules, all pure; `store.py` keeps records in the index
engine; `intake.py` takes what was submitted; `runner.py` does the work. The gateway has the routes
(`gateway/batches.py`), and reads requests as a stream (`gateway/batch_bodies.py`).

A batch outlives its process: everything that is needed to continue is in the index and the data
folder before the caller gets its 202. Document ids are fixed at that moment, too, so an image that
is stored twice, because the process was killed before it could record the first time, is still one
document.
"""
