"""A stand-in for a Qdrant server: its wire protocol and its faults, not its engine.

It answers Qdrant's own gRPC services and the collection routes of its REST API over two ports and
one state, so that what the project sends is encoded, sent, decoded and answered as by a server:
deadlines, status codes, dropped connections, refused keys. Behind the ports is qdrant-client's
local mode: everything in memory, every search exact, nothing optimised. What only the real engine
can show (recall, speed, durability, clusters) is shown on one: `LOOKALIKE_QDRANT_URL` runs the
same contract tests there.

    with running() as server:
        AsyncQdrantClient(url=server.url, grpc_port=server.grpc_port, prefer_grpc=True)
        server.faults(fail_methods={"Upsert": "UNAVAILABLE"})

`README.md` beside this tells the command and the faults.
"""

from tests.qdrant_server.process import StandIn, running

__all__ = ["StandIn", "running"]
