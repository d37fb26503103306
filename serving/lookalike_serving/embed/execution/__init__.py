"""How a model computes: by which engine and in which number format, as asked or as measured.

A provider reads a model (`Source`) and builds an embedder from it for any way of computing. Which
way that is, is decided in one place for all providers (`run`): as the resource says, as an earlier
measurement on the same kind of machine found (`remembered`), or by a quick estimate. Only the
estimate delays the first start; the measurement of all ways (`tune`) runs afterwards, in a process
of its own (`background`), and what it finds is used from then on.

Vectors are the same within a cosine of .999, whatever way is taken: so ingestion and serving may
take different ones, and the model's fingerprint does not depend on it.
"""
