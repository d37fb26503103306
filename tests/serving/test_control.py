"""The socket through which a running server takes changes: one at a time, all or nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support import configs
from tests.support.configs import serving_config

from lookalike_crds.backoff import Backoff
from lookalike_crds.config import CollectionConfig, IngestionConfig, ServingConfig
from lookalike_crds.progress import CARRIED, Counts, ItemError, Progress
from lookalike_crds.source_kinds import VolumeSource
from lookalike_crds.sources import SourceSpec
from lookalike_serving.local import control
from lookalike_serving.local.control import Control
from lookalike_serving.local.formers import Formers
from lookalike_serving.machine.rundir import (
    IngestionPhase,
    IngestionState,
    RunDirectory,
    digest_of,
)

Ended = Callable[[IngestionState], IngestionState]


class Replica:
    """Takes whatever it is told, but for what it `refuses`; `filling` is to be filled then."""

    def __init__(self) -> None:
        self.in_force: list[str] = []
        self.finished: list[tuple[str, str, bool]] = []
        self.filling: list[str] = []
        self.refuses: str | None = None
        self.hold: asyncio.Event | None = None
        self.ends = 0
        """How often it ends before it has switched."""
        self.reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return _Method(getattr(self, f"_{name}"))

    async def _take(self, config: str, leave_behind: bool) -> dict[str, Any]:
        self.reached.set()
        if self.hold is not None:
            hold, self.hold = self.hold, None
            await hold.wait()
        if self.refuses:
            return {"refused": self.refuses}
        self.in_force.append(config)
        told = ServingConfig.model_validate_json(config)
        told = told.model_copy(
            update={"filling": tuple(beside(c) for c in told.collections if c.name in self.filling)}
        )
        return {"config": told.model_dump_json(by_alias=True), "filling": self.filling}

    async def _finish(self, collection: str, since: str, leave_behind: bool) -> dict[str, Any]:
        if self.ends:
            self.ends -= 1
            raise RuntimeError("the actor died")
        self.finished.append((collection, since, leave_behind))
        self.filling = []
        return {"config": self.in_force[-1], "filling": []}


class _Method:
    def __init__(self, method: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._method = method

    def remote(self, *arguments: Any) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self._method(*arguments))


class Ingestions:
    def __init__(self) -> None:
        self.added: dict[str, Ended] = {}
        self.called_off: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self.added

    def add(self, name: str, config: Path, ended: Ended) -> None:
        self.added[name] = ended

    def call_off(self, name: str) -> None:
        self.called_off.append(name)


class Server:
    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.replica = Replica()
        self.ingestions = Ingestions()
        self.noted: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def note(self, names: tuple[str, ...], waiting: tuple[str, ...]) -> None:
        self.noted.append((names, waiting))

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self.run.control_socket)
        writer.write(json.dumps(question).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer

    def question(self, *names: str, folder: str = "/pictures", **changes: Any) -> dict[str, Any]:
        """To serve these collections, each with pictures of `folder`."""
        ingestions = [ingestion(self.run, name, folder) for name in names]
        return {
            "ask": "apply",
            "based_on": digest_of(self.run.serving_config),
            "config": serving(self.run, *names).model_dump(mode="json", by_alias=True),
            "ingestions": [each.model_dump(mode="json", by_alias=True) for each in ingestions],
            "leave_behind": False,
            **changes,
        }


def collection(run: RunDirectory, name: str) -> CollectionConfig:
    return configs.collection(run.data_dir, name, sources=("pictures",))


def beside(config: CollectionConfig) -> CollectionConfig:
    """The same collection with another index."""
    path = config.index.path
    assert path is not None
    name = f"{config.name}-later"
    index = config.index.model_copy(update={"name": name, "path": path.with_name(name)})
    return config.model_copy(update={"index": index})


def serving(run: RunDirectory, *names: str) -> ServingConfig:
    return serving_config(run.data_dir, *(collection(run, name) for name in names))


def ingestion(run: RunDirectory, name: str, folder: str) -> IngestionConfig:
    return IngestionConfig(
        collection=collection(run, name),
        sources=(SourceSpec(name="pictures", volume=VolumeSource(path=folder)),),
        data_dir=run.data_dir,
        progress_file=run.progress_file(name),
    )


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    run = RunDirectory.of(tmp_path / "data")
    run.make_private()
    run.ray_dir.mkdir(mode=0o700, exist_ok=True)
    run.serving_config.write_text(serving(run, "shop").model_dump_json(by_alias=True))
    content = ingestion(run, "shop", "/pictures").model_dump_json(by_alias=True)
    run.ingestion_config("shop").write_text(content)
    made = Server(run)
    monkeypatch.setattr(control, "replica", lambda: made.replica)
    listening = asyncio.create_task(
        Control(run, "ray:1", made.ingestions, made.note).serve()  # type: ignore[arg-type]
    )
    await until(run.control_socket.exists)
    yield made
    listening.cancel()
    run.control_socket.unlink()
    run.ray_dir.rmdir()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - on files, which tell nobody
        await asyncio.sleep(0)


def in_force(server: Server) -> list[str]:
    config = ServingConfig.model_validate_json(server.run.serving_config.read_bytes())
    return [each.name for each in config.collections]


async def test_only_its_owner_may_connect(server: Server) -> None:
    assert server.run.control_socket.stat().st_mode & 0o777 == 0o600
    assert server.run.ray_dir.stat().st_mode & 0o777 == 0o700


async def test_what_is_new_is_read_and_what_stays_is_not(server: Server) -> None:
    answer = await server.ask(server.question("shop", "more"))
    assert answer == {"filling": [], "ingesting": ["more"]}
    assert in_force(server) == ["shop", "more"]
    assert list(server.ingestions.added) == ["more"]
    assert server.noted == [(("shop", "more"), ("more",))]
    written = IngestionConfig.model_validate_json(server.run.ingestion_config("shop").read_bytes())
    assert written.ray_address == "ray:1", "`lookalike ingest` would start a Ray of its own"


async def test_changed_sources_are_read_again(server: Server) -> None:
    answer = await server.ask(server.question("shop", folder="/others"))
    assert answer["ingesting"] == ["shop"]


async def test_the_ingestion_of_a_collection_that_is_gone_is_called_off(server: Server) -> None:
    await server.ask(server.question("more"))
    assert "shop" in server.ingestions.called_off
    assert list(server.run.ingestion_configs()) == ["more"]


async def test_a_refused_change_writes_nothing(server: Server) -> None:
    server.replica.refuses = "the weights are no weights"
    assert await server.ask(server.question("more")) == {"refused": "the weights are no weights"}
    assert in_force(server) == ["shop"]
    assert list(server.run.ingestion_configs()) == ["shop"]
    assert server.noted == []


async def test_a_plan_of_another_configuration_is_refused(server: Server) -> None:
    answer = await server.ask(server.question("more", based_on="0" * 64))
    assert "changed in the meantime" in answer["refused"]
    assert server.replica.in_force == []


async def test_of_two_at_once_the_second_is_refused(server: Server) -> None:
    server.replica.hold = hold = asyncio.Event()
    first = asyncio.create_task(server.ask(server.question("shop", "one")))
    await server.replica.reached.wait()
    second = await server.ask(server.question("shop", "two"))
    assert "another change is being applied" in second["refused"]
    hold.set()
    assert "refused" not in await first
    assert in_force(server) == ["shop", "one"]


async def test_whoever_leaves_before_the_answer_calls_it_off(server: Server) -> None:
    server.replica.hold = asyncio.Event()
    _, writer = await asyncio.open_unix_connection(server.run.control_socket)
    writer.write(json.dumps(server.question("more")).encode() + b"\n")
    await server.replica.reached.wait()
    writer.close()
    await until(lambda: bool(server.replica.in_force))
    [taken_back] = server.replica.in_force
    assert taken_back == serving(server.run, "shop").model_dump_json(by_alias=True)
    assert in_force(server) == ["shop"]


async def test_a_disk_that_takes_nothing_leaves_the_former_configuration(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(contents: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(control, "write_together", full)
    answer = await server.ask(server.question("more"))
    assert "No space left on device" in answer["refused"]
    assert "former configuration" in answer["refused"]
    before = serving(server.run, "shop").model_dump_json(by_alias=True)
    assert server.replica.in_force[-1] == before


async def test_a_filled_index_answers_once_its_ingestion_has_ended(server: Server) -> None:
    server.replica.filling = ["shop"]
    question = server.question("shop", folder="/others")
    assert (await server.ask(question))["filling"] == ["shop"]
    filling = IngestionConfig.model_validate_json(server.run.ingestion_config("shop").read_bytes())
    assert filling.carry is not None
    assert filling.carry.index == "shop"
    assert filling.collection.index.name == "shop-later"
    leave_progress(server)
    ended = await ending(server, IngestionState("shop", IngestionPhase.INCOMPLETE))
    assert ended.phase is IngestionPhase.INCOMPLETE
    assert ended.held is None
    assert server.replica.finished == [("shop", "2026-05-01T12:00:00.000Z", False)]
    usual = IngestionConfig.model_validate_json(server.run.ingestion_config("shop").read_bytes())
    assert usual.carry is None
    [former] = Formers(server.run).all().values()
    assert former.collection.index.name == "shop"


async def fill_and_retry_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new index of `shop` has been filled, and its switch is tried again without a pause."""
    monkeypatch.setattr(control, "_AGAIN", Backoff(base=0, cap=0))
    server.replica.filling = ["shop"]
    await server.ask(server.question("shop", folder="/others"))
    leave_progress(server)


async def test_a_replica_that_ends_before_it_has_switched_is_asked_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill_and_retry_at_once(server, monkeypatch)
    server.replica.ends = 3
    ended = await ending(server, IngestionState("shop", IngestionPhase.DONE))
    assert ended.held is None
    assert len(server.replica.finished) == 1


async def test_what_answers_is_recorded_once_the_disk_takes_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill_and_retry_at_once(server, monkeypatch)
    real, failures = control.write_atomically, [OSError(28, "No space left on device")] * 3

    def full(path: Path, content: bytes) -> None:
        if failures:
            raise failures.pop()
        real(path, content)

    monkeypatch.setattr(control, "write_atomically", full)
    ended = await ending(server, IngestionState("shop", IngestionPhase.DONE))
    assert (ended.held, failures) == (None, [])
    assert server.run.read_serving_config().filling == ()


async def test_documents_that_cannot_be_carried_wait_for_a_person(server: Server) -> None:
    server.replica.filling = ["shop"]
    await server.ask(server.question("shop", folder="/others"))
    error = ItemError(source=CARRIED, key="mug-1", cause="its image is not stored")
    leave_progress(server, sources={CARRIED: Counts(listed=3, new=2, failed=1)}, errors=[error])
    ended = await ending(server, IngestionState("shop", IngestionPhase.INCOMPLETE))
    assert ended.held is not None
    assert "1 documents (mug-1) cannot be embedded" in ended.held
    assert server.replica.finished == []
    server.ingestions.added.clear()
    assert await server.ask({"ask": "switch", "collection": "shop"}) == {
        "filling": [],
        "ingesting": [],
    }
    assert server.replica.finished == [("shop", "2026-05-01T12:00:00.000Z", True)]


async def test_only_a_filled_index_can_be_told_to_answer(server: Server) -> None:
    told = await server.ask({"ask": "switch", "collection": "shop"})
    assert "no other index of collection 'shop' is being filled" in told["refused"]
    server.replica.filling = ["shop"]
    await server.ask(server.question("shop", folder="/others"))
    told = await server.ask({"ask": "switch", "collection": "shop"})
    assert "still being embedded again" in told["refused"]


async def test_a_change_is_taken_back_while_the_former_index_is_kept(server: Server) -> None:
    nothing = await server.ask({"ask": "rollback", "collection": "shop"})
    assert "no index of a former model of collection 'shop' is kept" in nothing["refused"]
    was = collection(server.run, "shop")
    Formers(server.run).keep(beside(was), was)
    server.replica.filling = ["shop"]
    answer = await server.ask({"ask": "rollback", "collection": "shop"})
    assert answer == {"filling": ["shop"], "ingesting": ["shop"]}
    wanted = ServingConfig.model_validate_json(server.replica.in_force[-1])
    assert wanted.collections[0].index.name == "shop-later"


async def test_an_index_whose_time_has_passed_is_deleted(server: Server) -> None:
    was = collection(server.run, "shop")
    folder = beside(was).index.path
    assert folder is not None
    (folder / "shard-0").mkdir(parents=True)
    formers = Formers(server.run)
    formers.keep(beside(was), was.model_copy(update={"keep_previous": "1h"}))
    assert await formers.delete_expired() == []
    formers.keep(beside(was), was.model_copy(update={"keep_previous": "0"}))
    assert await formers.delete_expired() == ["shop-later"]
    assert not folder.exists()
    assert formers.all() == {}


async def test_an_index_that_could_not_be_filled_does_not_answer(server: Server) -> None:
    server.replica.filling = ["shop"]
    await server.ask(server.question("shop", folder="/others"))
    failed = IngestionState("shop", IngestionPhase.FAILED, error="no picture could be read")
    ended = await ending(server, failed)
    assert ended.held is not None
    assert "no picture could be read" in ended.held
    assert server.replica.finished == []
    server.ingestions.added.clear()
    again = await server.ask(server.question("shop", folder="/others"))
    assert again["ingesting"] == ["shop"], "nothing would fill it any more"


def leave_progress(server: Server, **changes: Any) -> None:
    """What the run that fills the index of `shop` reports."""
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    made = Progress(collection="shop", started_at=at, updated_at=at, pid=1, **changes)
    server.run.progress_file("shop").write_text(made.model_dump_json())


async def ending(server: Server, state: IngestionState) -> IngestionState:
    """What is reported of an ingestion that ends so; as its thread asks."""
    ended = server.ingestions.added["shop"]
    work: Awaitable[IngestionState] = asyncio.to_thread(ended, state)
    return await work


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[1]\n", b"rubbish\n", b'{"ask": "apply"}\n'])
async def test_rubbish_is_refused_and_the_next_question_answered(
    server: Server, line: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(server.run.control_socket)
    writer.write(line)
    assert "refused" in json.loads(await reader.readline())
    writer.close()
    assert "refused" not in await server.ask(server.question("shop"))
