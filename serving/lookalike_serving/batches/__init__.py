"""Batches: many images handed over in one request, stored while the caller does something else.

    request --intake--> items --store--> index (payload-only points)
                                            |
                                  runner: QUEUED items -> the gateway's `store_document`
                                            |
                             outcomes --store--> index;  routes read both

`record.py` holds what a batch is and its rules, all pure; `store.py` keeps records in the index
engine; `intake.py` reads requests as a stream; `runner.py` does the work; `routes.py` is HTTP.

A batch outlives its process: everything needed to go on is in the index and the data folder before
the caller gets its 202. Document ids are settled at that moment too, so an image stored twice – the
process killed between storing it and noting so – is still one document.
"""

from lookalike_serving.batches import routes

__all__ = ["routes"]
