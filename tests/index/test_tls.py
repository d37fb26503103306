"""A Qdrant server whose certificate an authority of one's own has signed, over real TLS."""

from __future__ import annotations

import ssl
import uuid
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests.qdrant_server import StandIn
from tests.qdrant_server.certificates import Authority
from tests.qdrant_server.fronts import Front, fronts

from lookalike_crds.image_collection import VectorSpec
from lookalike_serving.index.protocol import IndexFailure, IndexUnavailable, Point, Query
from lookalike_serving.index.qdrant import QdrantIndex
from lookalike_serving.index.qdrant_errors import CertificateRefused

OURS, ANOTHER = Authority.make("ours"), Authority.make("another")
QUERY = Query(np.ones(4, np.float32), limit=3)
PROTOCOLS = pytest.mark.parametrize("rest", [False, True], ids=["Grpc", "Rest"])


def write(file: Path, *certificates: str) -> None:
    file.write_text("".join(certificates))


async def opened(nodes: list[Front], ca: Path | None, rest: bool, **settings) -> QdrantIndex:
    return await QdrantIndex.open(
        [node.url for node in nodes],
        f"shoes-{uuid.uuid4()}",
        vector=VectorSpec(),
        dimension=4,
        fingerprint="a",
        grpc_port=None if rest else nodes[0].grpc_port,
        ca_file=ca,
        patience_seconds=0,
        **settings,
    )


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_text(OURS.pem)
    return file


@PROTOCOLS
async def test_a_server_of_ones_own_authority_is_talked_to(
    stand_in: StandIn, ca: Path, rest: bool
) -> None:
    # Several authorities in one file are how one is replaced by another.
    write(ca, ANOTHER.pem, OURS.pem)
    async with fronts(stand_in, 1, OURS.server()) as nodes:
        index = await opened(nodes, ca, rest)
        await index.upsert([Point(str(uuid.UUID(int=1)), np.ones(4, np.float32), {})])
        assert len(await index.query(QUERY)) == 1
        await index.drop()


class Wrong(NamedTuple):
    shown: ssl.SSLContext | None
    says: str


WRONG = {
    "another authority": Wrong(ANOTHER.server(), "signed by no authority that is trusted here"),
    "expired": Wrong(OURS.server(since_days=-9, until_days=-1), "expired: renew it"),
    "not yet valid": Wrong(OURS.server(since_days=1), "not valid yet: check the clocks"),
    "another host": Wrong(OURS.server(("qdrant.example", "10.0.0.1")), "for another name"),
}


@PROTOCOLS
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_certificate_that_is_not_right_is_refused_and_told_with_the_remedy(
    stand_in: StandIn, ca: Path, rest: bool, wrong: Wrong
) -> None:
    async with fronts(stand_in, 1, wrong.shown) as nodes:
        with pytest.raises(CertificateRefused) as told:
            await opened(nodes, ca, rest)
        message = str(told.value)
        assert f"Qdrant at {nodes[0].url}: its certificate is {wrong.says}" in message
        assert len(message.splitlines()) == 1
        assert "ssl" not in message.lower(), "in words, not as the library has it"


@PROTOCOLS
async def test_without_a_ca_an_authority_of_ones_own_is_not_trusted(
    stand_in: StandIn, rest: bool
) -> None:
    async with fronts(stand_in, 1, OURS.server()) as nodes:
        with pytest.raises(CertificateRefused, match=r"name the right one in spec\.index\.qdrant"):
            await opened(nodes, None, rest)


@PROTOCOLS
async def test_a_server_without_tls_is_told(stand_in: StandIn, ca: Path, rest: bool) -> None:
    async with fronts(stand_in, 1) as nodes:
        secure = nodes[0].url.replace("http://", "https://")
        with pytest.raises(IndexUnavailable, match="it does not speak TLS"):
            await QdrantIndex.open(
                secure,
                "shoes",
                vector=VectorSpec(),
                dimension=4,
                fingerprint="a",
                grpc_port=None if rest else nodes[0].grpc_port,
                ca_file=ca,
                patience_seconds=0,
            )


@PROTOCOLS
async def test_an_authority_that_is_replaced_in_its_file_is_followed(
    stand_in: StandIn, ca: Path, rest: bool
) -> None:
    async with fronts(stand_in, 1, OURS.server()) as nodes:
        index = await opened(nodes, ca, rest)
        await nodes[0].kill()
        nodes[0].tls = ANOTHER.server()
        await nodes[0].start()
        with pytest.raises(IndexUnavailable):
            await index.query(QUERY)
        write(ca, ANOTHER.pem)
        index._connection.patience_seconds = 20
        assert await index.query(QUERY) == []
        await index.drop()


@PROTOCOLS
async def test_one_node_with_a_wrong_certificate_is_left_out(
    stand_in: StandIn, ca: Path, rest: bool
) -> None:
    async with fronts(stand_in, 2, OURS.server()) as nodes:
        await nodes[0].kill()
        nodes[0].tls = ANOTHER.server()
        await nodes[0].start()
        index = await opened(nodes, ca, rest)
        assert await index.query(QUERY) == []
        assert [bool(node.left_out) for node in index._connection._nodes] == [True, False]
        await index.drop()


@pytest.mark.parametrize("content", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
async def test_a_file_without_a_certificate_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "ca.pem"
    write(file, content)
    with pytest.raises(IndexFailure, match=r"index\.ca_file .*ca\.pem holds no certificate: write"):
        await QdrantIndex.open(
            "https://q", "a", vector=None, dimension=None, fingerprint=None, ca_file=file
        )
