"""What bench/ingest.py compares ingestion with: other software, and a script that a user writes.

Each peer has an environment of its own in the cache folder, made when it is first needed; all have
a ViT-B/32 with random weights from a folder, since their speed is that of the trained ones. The
programs are in bench/peers/.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent / "peers"
SECONDS = 1800


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lookalike"


@dataclass(frozen=True)
class Peer:
    name: str
    program: str
    places: tuple[str, ...]
    packages: tuple[str, ...] = ()
    """What its environment needs; none: this one."""
    options: Callable[[], list[str]] = list

    def python(self) -> str:
        """Of its environment. Raises CalledProcessError if it cannot be made."""
        if not self.packages:
            return sys.executable
        home = cache() / "peers" / self.name.replace(" ", "-")
        python, made = home / "bin" / "python", home / "made.json"
        if not made.exists() or json.loads(made.read_text()) != list(self.packages):
            uv = [sys.executable, "-m", "uv"]
            _run([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)])
            _run([*uv, "pip", "install", "-q", "--python", str(python), *self.packages])
            made.write_text(json.dumps(self.packages))
        return str(python)

    def rate(self, place: str, where: str, batch: int) -> float | str:
        """Images a second, or why there is no number."""
        if place not in self.places:
            return "does not read them"
        try:
            python = self.python()
            command = [python, str(PROGRAMS / self.program), place, where, "--batch", str(batch)]
            said = _run([*command, *self.options()])
            told = json.loads(said.strip().splitlines()[-1])
            if not told["images"]:
                return "failed: it has stored no image"
            return float(told["images"] / told["seconds"])
        except subprocess.CalledProcessError as error:
            return "failed: " + (error.stderr.strip().splitlines() or ["?"])[-1][:160]
        except (subprocess.TimeoutExpired, ValueError, IndexError, KeyError) as error:
            return f"failed: {type(error).__name__}"


def _run(command: list[str]) -> str:
    env = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=SECONDS, env=env
    )
    return done.stdout


def _open_clip_weights() -> list[str]:
    """A checkpoint of open_clip with random weights."""
    file = cache() / "random-vit-b-32" / "open_clip.pt"
    if not file.exists():
        import open_clip
        import torch

        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(open_clip.create_model("ViT-B-32").state_dict(), file)
    return ["--weights", str(file)]


def _transformers_folder() -> list[str]:
    """The same network as a folder of transformers."""
    folder = cache() / "random-vit-b-32" / "transformers"
    if not (folder / "tokenizer_config.json").exists():
        package = find_spec("open_clip")
        assert package is not None
        assert package.origin is not None
        pairs = Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
        _run([INFINITY.python(), str(PROGRAMS / "random_clip.py"), str(folder), str(pairs)])
    return ["--model", str(folder)]


INFINITY = Peer(
    "infinity-emb 0.0.78",
    "with_infinity.py",
    ("folder", "s3"),
    ("infinity-emb[server,torch,vision]==0.0.78", "aiohttp", "transformers<4.50", "qdrant-client"),
    _transformers_folder,
)
PEERS = {
    "script": Peer("a user's script, FP32", "script.py", ("folder", "s3", "tar")),
    "script-bf16": Peer(
        "a user's script, BF16",
        "script.py",
        ("folder", "s3", "tar"),
        options=lambda: ["--bf16"],
    ),
    "clip-retrieval": Peer(
        "clip-retrieval 2.45.0",
        "with_clip_retrieval.py",
        ("folder", "s3", "tar"),
        ("clip-retrieval==2.45.0", "qdrant-client", "setuptools<81"),
        _open_clip_weights,
    ),
    "infinity": INFINITY,
}
