"""One collection of the demo model, in an Edge index, and a server of it as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from tests.support import configs
from tests.support.pictures import encoded, plain
from tests.support.ports import free_port

from lookalike_crds.config import HttpConfig, ServingConfig
from lookalike_crds.image_collection import FieldSpec, FieldType

DOCUMENTS = "/v1/collections/catalogue/documents"
START_SECONDS = 300.0


def serving_config(folder: Path) -> ServingConfig:
    price = FieldSpec(name="price", type=FieldType.FLOAT)
    return configs.serving_config(
        folder,
        configs.collection(folder, "catalogue", fields=(price,)),
        retrievers=(configs.retriever("shop", "catalogue"),),
        http=HttpConfig(port=free_port()),
    )


def picture(colour: str) -> bytes:
    return encoded(plain(colour), "JPEG")


class Server:
    """`python -m lookalike_serving.local` on one config; started and ended by the test."""

    def __init__(self, config: ServingConfig) -> None:
        run = config.data_dir / "run"
        run.mkdir(exist_ok=True)
        path = run / "serving.json"
        path.write_text(config.model_dump_json(by_alias=True))
        self._log = (run / "test.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lookalike_serving.local", "--config", str(path)],
            stdout=self._log,
            stderr=self._log,
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{config.http.port}", timeout=120)
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self._process.poll() is None, (run / "test.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (run / "test.log").read_text()[-3000:]
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """May be called again."""
        self.client.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(180)
        self._log.close()
