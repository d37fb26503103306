"""What is kept of a collection beside its documents: runs, failures, deletions.

    record.py    what each record is, and the id it has
    store.py     reading and writing them
    listings.py  the pages of a listing, while the processes of a run share them

Records outlive an index: a collection whose model changes keeps them. They are payload-only points
of the index that batch records are in (`ServingConfig.batches_index`; on a cluster, of the Qdrant
server that the collection is on), so that there is no second database, and ingestion reaches them
the way it reaches the documents: through the server that holds an Edge index, or straight on a
Qdrant server.
"""

BULK_NAME = "@books"
"""What the bulk route calls that index. No index of a collection can have this name."""
