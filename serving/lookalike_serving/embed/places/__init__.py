"""Places that keep whole models: a folder, a bucket, a registry of OCI artifacts.

    /models/vit                       a folder
    s3://models/vit/                  a prefix of a bucket, which ends with a slash; gs://, az://
    oci://registry.example/models/vit:1    an artifact

Each holds the files of one model in the layout in which its library publishes them, and a manifest
(`manifest.py`) with their sizes and digests. `lookalike weights` copies models between places, and
`spec.model.weights` may name any of them.

    manifest.py   what a place holds
    protocol.py   what a place can do; folder.py, bucket.py, oci.py: the three kinds
    copying.py    from one place to another, and from `spec.model` to a place
    at_hand.py    from an address in `spec.model.weights` to a path on this machine
"""
