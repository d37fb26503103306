"""Documents: what one is, how it comes in through the service, and what may be done to it.

`ids.py` says what may be an id, `layout.py` how a document lies in an index, `metadata.py` what its
metadata may hold; ingestion shares these three. `upload.py` stores a document through a running
service, `stored.py` reads, changes and deletes one.
"""
