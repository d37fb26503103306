"""Images built from Dockerfiles, by buildah, without a daemon, and handed to the node.

A build reaches the package registries the way this machine does: its settings of pip, uv and apt
and its certificate authorities are mounted while the build runs, and are no part of the image.
(Proxies buildah passes on by itself.)
"""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import debian, images
from e2e.cluster.errors import DidNotBuild, Unavailable
from e2e.cluster.paths import ROOT, cache

BASE = f"localhost/{images.BASE}"
"""What a Dockerfile's base may be replaced by where no image registry is reached."""
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_SECONDS = 3600


def build_image(
    dockerfile: Path,
    tag: str,
    *,
    context: Path = ROOT,
    arguments: Mapping[str, str] | None = None,
) -> Path:
    """The archive of the image; give it to `Node.import_image`. As root.

    `arguments`: the Dockerfile's, such as its base, which may be `builds.BASE`. Raises Unavailable
    or DidNotBuild.
    """
    debian.ensure("buildah", "debootstrap")
    folder = cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{tag.replace('/', '_').replace(':', '_')}.tar"
    with _storage() as storage, tempfile.TemporaryDirectory() as settings:
        if BASE in (arguments or {}).values():
            _buildah(storage, "pull", "--quiet", f"docker-archive:{images.base()}")
        built = _buildah(
            storage,
            *("build", "--isolation", "chroot", "--layers=false", "--format", "docker"),
            *(f"--build-arg={name}={value}" for name, value in (arguments or {}).items()),
            *(f"--volume={own}:{inside}:ro" for own, inside in _settings(Path(settings))),
            *("--file", str(dockerfile), "--tag", tag, str(context)),
        )
        if built.returncode != 0:
            output = (built.stdout + built.stderr)[-4000:]
            raise DidNotBuild(f"buildah could not build {dockerfile}:\n{output}")
        archive.unlink(missing_ok=True)
        pushed = _buildah(storage, "push", "--quiet", tag, f"docker-archive:{archive}:{tag}")
        if pushed.returncode != 0:
            raise DidNotBuild(f"buildah could not write {archive}: {pushed.stderr[-1000:]}")
    return archive


def _settings(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files of this machine's settings, and where a build is to see them."""
    authorities = next(
        (
            Path(os.environ[name])
            for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
            if os.environ.get(name) and Path(os.environ[name]).is_file()
        ),
        None,
    )
    if authorities is not None:
        yield authorities, _AUTHORITIES
    pip = _pip(trusts=authorities is not None)
    with (folder / "pip.conf").open("w") as file:
        pip.write(file)
    yield folder / "pip.conf", "/etc/pip.conf"
    uv = _uv(trusts=authorities is not None)
    (folder / "uv.toml").write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in uv.items()))
    yield folder / "uv.toml", "/etc/uv/uv.toml"
    for conf in Path("/etc/apt/apt.conf.d").glob("*"):
        # Only how packages are fetched: other settings are the host's business.
        if conf.is_file() and "Acquire::" in conf.read_text(errors="replace"):
            yield conf, str(conf)


def _pip(*, trusts: bool) -> configparser.RawConfigParser:
    """pip's own order: the files of the machine and the user, then the environment."""
    settings = configparser.RawConfigParser()
    home = Path.home()
    settings.read(
        [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", home / ".config" / "pip" / "pip.conf"]
    )
    if not settings.has_section("global"):
        settings.add_section("global")
    for name, value in os.environ.items():
        option = name.removeprefix("PIP_").lower().replace("_", "-")
        # Paths are this machine's.
        if name.startswith("PIP_") and not value.startswith("/"):
            settings.set("global", option, value)
    settings.remove_option("global", "cert")
    if trusts:
        settings.set("global", "cert", _AUTHORITIES)
    return settings


def _uv(*, trusts: bool) -> dict[str, object]:
    settings: dict[str, object] = {}
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    if index:
        settings["index-url"] = index
    if extra := os.environ.get("UV_EXTRA_INDEX_URL"):
        settings["extra-index-url"] = extra.split()
    if trusts:
        settings["native-tls"] = True
    return settings


@contextmanager
def _storage() -> Iterator[tuple[str, ...]]:
    """buildah's files, gone after each build: plain copies need no support of the kernel."""
    builds = cache() / "buildah"
    builds.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=builds, ignore_cleanup_errors=True) as folder:
        storage = ("--root", f"{folder}/root", "--runroot", f"{folder}/run")
        yield (*storage, "--storage-driver", "vfs")


def _buildah(storage: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["buildah", *storage, *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(arguments[:2])} took over {_SECONDS} s") from None
    except FileNotFoundError:
        raise Unavailable("buildah is missing: as root, apt install buildah") from None
