"""`D/run`: what a running server writes for the commands that look for it.

The lock alone decides whether a server is running: the kernel releases it when its holder ends,
however it ends. `state.json` says more, and may be out of date if nobody holds the lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_serving.machine.files import write_atomically

if TYPE_CHECKING:
    from lookalike_crds.config import ServingConfig

_LOCK_POLL_SECONDS = 0.1


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


class IngestionPhase(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    INCOMPLETE = "done with errors"
    """Some images or sources failed; the progress file says which."""
    FAILED = "failed"


class DataDirInUse(Exception):
    """Another process holds the lock."""


@dataclass(frozen=True, slots=True)
class IngestionState:
    """The ingestion of one collection as its parent sees it; the progress file has the counts."""

    collection: str
    phase: IngestionPhase = IngestionPhase.WAITING
    pid: int | None = None
    error: str | None = None
    """For FAILED and INCOMPLETE: the last line of its log."""
    held: str | None = None
    """Of a run that filled the index of a changed model: why the former model keeps answering."""


@dataclass(frozen=True, slots=True)
class State:
    """`state.json`."""

    pid: int
    identity: str
    """Distinguishes this process from a later one with the same pid: see `processes.identity`."""
    phase: Phase
    url: str
    started_at: str
    """RFC 3339, UTC."""
    config_digest: str
    """SHA-256 of the serving config."""
    versions: dict[str, str] = field(default_factory=dict)
    parent_pid: int | None = None
    """The `up` in the foreground that the server ends with; None for a detached server."""
    parent_identity: str | None = None
    ray_address: str | None = None
    error: str | None = None
    """FAILED: why the server did not start."""
    ingestions: tuple[IngestionState, ...] = ()

    @property
    def ingestions_ended(self) -> bool:
        ends = (IngestionPhase.DONE, IngestionPhase.INCOMPLETE, IngestionPhase.FAILED)
        return all(ingestion.phase in ends for ingestion in self.ingestions)

    def with_ingestions(self, names: tuple[str, ...], waiting: tuple[str, ...]) -> State:
        """A copy with only these ingestions; those of `waiting` are still to be run."""
        known = {each.collection: each for each in self.ingestions if each.collection in names}
        known |= {name: IngestionState(name) for name in waiting}
        return replace(self, ingestions=tuple(known[name] for name in names if name in known))

    def with_ingestion(self, ingestion: IngestionState) -> State:
        """A copy in which one ingestion is replaced by its current state."""
        known = tuple(
            ingestion if each.collection == ingestion.collection else each
            for each in self.ingestions
        )
        return replace(self, ingestions=known)


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths in one data directory that concern its server."""

    data_dir: Path
    """Absolute."""
    path: Path
    """An absolute path; within the data directory, unless several servers share that."""

    @classmethod
    def of(cls, data_dir: Path, run_dir: Path | None = None) -> RunDirectory:
        data = data_dir.expanduser().resolve()
        return cls(data, data / "run" if run_dir is None else run_dir.absolute())

    def data_id(self) -> str:
        """Distinguishes this data directory from all others: created once, and stored in it."""
        file = self.data_dir / "id"
        try:
            kept = file.read_text().strip()
        except FileNotFoundError:
            kept = ""
        if kept:
            return kept
        self.data_dir.mkdir(parents=True, exist_ok=True)
        made = secrets.token_hex(8)
        write_atomically(file, f"{made}\n".encode())
        return made

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def serving_config(self) -> Path:
        return self.path / "serving.json"

    def read_serving_config(self) -> ServingConfig:
        """What the server answers with, or the last one did. Raises OSError, ValidationError."""
        # Imported here: most commands only look for the server, and start without pydantic.
        from lookalike_crds.config import ServingConfig

        return ServingConfig.model_validate_json(self.serving_config.read_bytes())

    @property
    def server_log(self) -> Path:
        return self.path / "server.log"

    @property
    def internal_token(self) -> Path:
        return self.path / "internal-token"

    @property
    def ray_token(self) -> Path:
        return self.path / "ray-token"

    def ingestion_config(self, collection: str) -> Path:
        return self.path / f"ingest-{collection}.json"

    def ingestion_log(self, collection: str) -> Path:
        return self.path / f"ingest-{collection}.log"

    def progress_file(self, collection: str) -> Path:
        return self.path / f"progress-{collection}.json"

    def ingestion_configs(self) -> dict[str, Path]:
        """The rendered ingestion config of each collection, ordered by name."""
        found = sorted(self.path.glob("ingest-*.json"))
        return {path.stem.removeprefix("ingest-"): path for path in found}

    @property
    def formers(self) -> Path:
        """Which indexes of former models are kept, and until when."""
        return self.path / "formers.json"

    @property
    def control_socket(self) -> Path:
        """The socket on which a running server takes changes: see control.py.

        It exists while it does.
        """
        return self.ray_dir / "control"

    @property
    def mark(self) -> str:
        """Value of `processes.MARK` in the environment of everything the server starts."""
        return str(self.data_dir)

    @property
    def ray_dir(self) -> Path:
        """Temporary files and sockets of Ray and HAProxy, closed to other users.

        The path is outside the data directory, and short, because the path of a socket has at most
        107 characters (97 for HAProxy), of which Ray adds about 60. On a cluster, user ids may have
        ten digits.
        """
        root = Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())
        digest = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:8]
        return root / f"lk-{os.getuid():x}-{digest}"

    @property
    def ray_temp_dir(self) -> Path:
        """The folder that Ray is given. Ray opens it to everybody, so it is inside a closed one."""
        return self.ray_dir / "r"

    def make_private(self) -> None:
        """Create the data directory, or close an existing one to everybody but its owner.

        Raises PermissionError if others may enter it and it belongs to somebody else.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = stat.S_IMODE(self.data_dir.stat().st_mode)
        if mode & 0o077:
            self.data_dir.chmod(mode & 0o700)
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextlib.contextmanager
    def lock(self, patience: float = 0.0) -> Iterator[None]:
        """Lock the data directory.

        Raises DataDirInUse if a running process still holds it after `patience` seconds.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            give_up = time.monotonic() + patience
            while True:
                try:
                    _flock(handle)
                    break
                except DataDirInUse:
                    if time.monotonic() >= give_up:
                        raise
                time.sleep(_LOCK_POLL_SECONDS)
            yield
        finally:
            os.close(handle)

    def is_locked(self) -> bool:
        """Whether a running process holds the data directory."""
        try:
            handle = os.open(self.lock_file, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            _flock(handle)
        except DataDirInUse:
            return True
        finally:
            os.close(handle)
        return False

    def read_state(self) -> State | None:
        """What the last server wrote; None if nothing can be read."""
        try:
            return _state(json.loads(self.state_file.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write_state(self, state: State) -> None:
        write_atomically(self.state_file, json.dumps(asdict(state), indent=2).encode())


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _flock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise DataDirInUse from None
        raise


def _state(document: dict[str, Any]) -> State:
    ingestions = tuple(
        IngestionState(**{**each, "phase": IngestionPhase(each["phase"])})
        for each in document.pop("ingestions")
    )
    return State(**{**document, "phase": Phase(document["phase"]), "ingestions": ingestions})
