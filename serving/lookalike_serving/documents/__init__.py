"""Documents: what they consist of, how the service stores them, and what can be done with them.

`ids.py` defines which ids are allowed, `layout.py` how a document is stored in an index, and
`metadata.py` what its metadata may contain; ingestion shares these three. `upload.py` stores a
document through a running service; `stored.py` reads, changes and deletes one.
"""
