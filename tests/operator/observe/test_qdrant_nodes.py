"""A Qdrant server with several addresses, and one with a certificate, as the operator asks them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from qdrant_client import AsyncQdrantClient
from tests.qdrant_server import StandIn, running
from tests.qdrant_server.certificates import Authority
from tests.qdrant_server.fronts import Front, fronts

from lookalike_crds.ownership import IndexOwner
from lookalike_operator.observe.qdrant import IndexUnavailable, Qdrant, Server
from lookalike_operator.plan.model import IndexAction, IndexOp

OURS, ANOTHER = Authority.make("ours"), Authority.make("another")
OWNER = IndexOwner(cluster="c", namespace="n", name="catalogue")


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with running() as server:
        yield server


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def qdrant(clock: Clock) -> AsyncIterator[Qdrant]:
    qdrant = Qdrant(timeout=5, keep=1.0, clock=clock)
    yield qdrant
    await qdrant.close()


@pytest.fixture
async def index(stand_in: StandIn) -> AsyncIterator[str]:
    client = AsyncQdrantClient(url=stand_in.url, check_compatibility=False)
    name = f"operator-{uuid.uuid4().hex[:12]}"
    made_for = {"dimension": 4, "owner": OWNER.model_dump()}
    await client.create_collection(name, vectors_config={}, metadata={"lookalike": made_for})
    yield name
    await client.delete_collection(name)
    await client.close()


def of(nodes: list[Front], **more: str) -> Server:
    return Server(tuple(node.url for node in nodes), **more)


async def test_a_killed_node_is_told_left_out_and_used_again(
    qdrant: Qdrant, clock: Clock, stand_in: StandIn, index: str
) -> None:
    async with fronts(stand_in, 3) as nodes:
        server = of(nodes)
        facts = await qdrant.facts(server, index, "a")
        assert (facts.exists, facts.away, facts.error) == (True, (), None)
        for killed in (0, 1):
            await nodes[killed].kill()
            clock.now += 10
            facts = await qdrant.facts(server, index, "a")
            assert (facts.exists, facts.away) == (True, (nodes[killed].url,))
            await nodes[killed].start()
            clock.now += 1000
            assert (await qdrant.facts(server, index, "a")).away == ()
        carried = nodes[0].carried
        clock.now += 10
        await qdrant.facts(server, index, "a")
        assert nodes[0].carried > carried


async def test_an_address_that_is_away_is_asked_ever_more_seldom(
    qdrant: Qdrant, clock: Clock, stand_in: StandIn, index: str
) -> None:
    asked: list[str] = []

    async with fronts(stand_in, 2) as nodes:
        server, client = of(nodes), qdrant._client

        def counted(server: Server, url: str) -> AsyncQdrantClient:
            asked.append(url)
            return client(server, url)

        qdrant._client = counted  # type: ignore[method-assign]
        await nodes[0].kill()
        times = []
        for step in range(60):
            clock.now = 5.0 * step
            asked.clear()
            await qdrant.facts(server, index, "a")
            if nodes[0].url in asked:
                times.append(clock.now)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 3 < len(times) < 10
    assert pauses == sorted(pauses)


async def test_what_the_operator_changes_is_done_by_another_node(
    qdrant: Qdrant, stand_in: StandIn, index: str
) -> None:
    async with fronts(stand_in, 3) as nodes:
        for node in nodes[:2]:
            await node.kill()
        server, delete = of(nodes), IndexOp(IndexAction.DELETE, index)
        field = IndexOp(IndexAction.ENSURE_PAYLOAD_INDEX, index, ("colour", "keyword"))
        await qdrant.perform(server, field, OWNER)
        assert (await qdrant.facts(server, index, "a")).payload_indexes == {"colour": "keyword"}
        stranger = IndexOwner(cluster="other", namespace="n", name="catalogue")
        await qdrant.perform(server, delete, stranger)
        assert (await qdrant.facts(server, index, "a")).exists, "another's"
        await qdrant.perform(server, delete, OWNER)
        assert not (await qdrant.facts(server, index, "a")).exists


async def test_while_none_answers_each_address_is_named(
    qdrant: Qdrant, stand_in: StandIn, index: str
) -> None:
    async with fronts(stand_in, 2) as nodes:
        for node in nodes:
            await node.kill()
        facts = await qdrant.facts(of(nodes), index, "a")
        assert facts.error is not None
        assert all(f"{node.url} is unreachable" in facts.error for node in nodes)
        assert facts.reason == "QdrantUnavailable"


async def test_the_version_is_that_of_the_oldest_node(qdrant: Qdrant, stand_in: StandIn) -> None:
    with running(version="1.17.1") as older:
        facts = await qdrant.facts(Server((stand_in.url, older.url)), "never-made", "a")
        assert facts.version == "1.17.1"


# -- certificates ----------------------------------------------------------------------------------


async def test_a_server_of_ones_own_authority_is_asked(
    qdrant: Qdrant, stand_in: StandIn, index: str
) -> None:
    async with fronts(stand_in, 1, OURS.server()) as nodes:
        assert (await qdrant.facts(of(nodes, ca=OURS.pem), index, "a")).exists
        await qdrant.perform(of(nodes, ca=OURS.pem), IndexOp(IndexAction.DELETE, index), OWNER)


@pytest.mark.parametrize(
    ("shown", "ca", "says"),
    [
        (OURS.server(), None, "its certificate is signed by no authority that is trusted here"),
        (OURS.server(), ANOTHER.pem, "name the right one in spec.index.qdrant.ca"),
        (OURS.server(until_days=0), OURS.pem, "its certificate is expired: renew it"),
        (OURS.server(("elsewhere",)), OURS.pem, "its certificate is for another name"),
    ],
)
async def test_a_wrong_certificate_is_told_in_our_own_words(
    qdrant: Qdrant, stand_in: StandIn, shown: object, ca: str | None, says: str
) -> None:
    async with fronts(stand_in, 1, shown) as nodes:
        server = of(nodes) if ca is None else of(nodes, ca=ca)
        facts = await qdrant.facts(server, "x", "a")
        assert facts.error is not None
        assert facts.error.startswith(f"{nodes[0].url}: ")
        assert says in facts.error
        assert "elsewhere" not in facts.error, "nothing of what the server said"
        assert facts.reason == "CertificateRefused"
        with pytest.raises(IndexUnavailable, match="its certificate is"):
            await qdrant.perform(server, IndexOp(IndexAction.DELETE, "x"))


@pytest.mark.parametrize("ca", ["", "no PEM"])
async def test_a_ca_without_certificates_is_told(qdrant: Qdrant, ca: str) -> None:
    facts = await qdrant.facts(Server(("https://127.0.0.1:1",), ca=ca), "x", "a")
    assert facts.error is not None
    assert facts.error.startswith("spec.index.qdrant.ca holds no certificate: write")
