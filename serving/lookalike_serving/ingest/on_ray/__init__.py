"""Ingestion whose model runs apart from decoding: `ingestion.runtime: Ray`.

    driver: keys -> decoders, one for each CPU: fetch, decode, preprocess
                        -> pixels of the size that the model needs, through Ray's object store
                    -> embedders, as many as the decoders keep busy: vectors
                    -> the decoder writes the documents, and tells the driver what came of its keys

A decoder is the worker of every other run, whose model happens to be somewhere else. So sources,
results and accounts are those of a Job.

`joining`, `pipeline`, `slots`: the driver's side, and the actor that is such a worker. `embedding`:
the actors with the model, the one that hands batches to them, and the model as a decoder sees it.
`submit`: the pod that hands the run to a cluster.
"""
