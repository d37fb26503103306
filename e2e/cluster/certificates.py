"""One authority and what it signs, made with openssl: enough for a cluster on one machine."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files of one cluster's public key infrastructure."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def server_certificate(self) -> Path:
        return self.folder / "apiserver.crt"

    @property
    def server_key(self) -> Path:
        return self.folder / "apiserver.key"

    @property
    def client_certificate(self) -> Path:
        """What the API server shows to the kubelet."""
        return self.folder / "apiserver-client.crt"

    @property
    def client_key(self) -> Path:
        return self.folder / "apiserver-client.key"

    @property
    def service_account_key(self) -> Path:
        return self.folder / "service-accounts.key"

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens.csv"

    @property
    def admin_token(self) -> str:
        return self.tokens.read_text().split(",", 1)[0]


def make(folder: Path, names: Sequence[str], addresses: Sequence[str]) -> Credentials:
    """Make everything anew, unless it is there. `names` and `addresses`: of the API server."""
    made = Credentials(folder)
    if made.tokens.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _openssl(
        *("req", "-x509", *_NEW_KEY, "-days", "3650", "-subj", "/CN=ca"),
        *("-keyout", folder / "ca.key", "-out", made.authority),
    )
    alternatives = ",".join([*(f"DNS:{n}" for n in names), *(f"IP:{a}" for a in addresses)])
    _sign(
        folder,
        made.server_certificate,
        "/CN=kube-apiserver",
        f"subjectAltName={alternatives}\nextendedKeyUsage=serverAuth\n",
    )
    _sign(
        folder,
        made.client_certificate,
        "/O=system:masters/CN=kube-apiserver",
        "extendedKeyUsage=clientAuth\n",
    )
    # In the older form: the API server takes the public half of that one only.
    _openssl(
        *("ecparam", "-genkey", "-name", "prime256v1", "-noout"),
        *("-out", made.service_account_key),
    )
    # Last: its presence says that the others are whole.
    made.tokens.write_text(f'{secrets.token_hex(24)},admin,admin,"system:masters"\n')
    made.tokens.chmod(0o600)
    return made


def _sign(folder: Path, certificate: Path, subject: str, extensions: str) -> None:
    """A key beside the certificate, and the certificate, signed by the authority of the folder."""
    request, wanted = certificate.with_suffix(".csr"), certificate.with_suffix(".ext")
    key = certificate.with_suffix(".key")
    _openssl("req", *_NEW_KEY, "-subj", subject, "-keyout", key, "-out", request)
    wanted.write_text(extensions)
    _openssl(
        *("x509", "-req", "-in", request, "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key"),
        *("-CAcreateserial", "-days", "3650", "-extfile", wanted, "-out", certificate),
    )


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr[-500:]}")
