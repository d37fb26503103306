"""Trusting a server of one's own authority, and what is wrong with a server's TLS.

OpenSSL and gRPC's BoringSSL tell a reason as words in an error alone. What comes out here is always
one of the sentences below, and never a part of what the other side sent.
"""

from __future__ import annotations

import ssl


def trusting(ca: str) -> ssl.SSLContext:
    """A client's context that trusts the certificates in `ca` (PEM) and no others.

    Raises ValueError, with what to write, where it holds none.
    """
    try:
        # Without any, the context would trust the well-known authorities instead.
        context = ssl.create_default_context(cadata=ca if ca.strip() else "none")
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(
            "holds no certificate: write one or more in PEM, each from -----BEGIN CERTIFICATE----- "
            "to -----END CERTIFICATE-----"
        ) from error
    # As gRPC has it, an authority below a root or a server's own certificate may be trusted too.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


_REFUSED = "CERTIFICATE_VERIFY_FAILED"

_EXPIRED = "its certificate is expired: renew it"
_EARLY = "its certificate is not valid yet: check the clocks of both machines"
_OTHER_NAME = (
    "its certificate is for another name: write the address with a name that the certificate has, "
    "or have a certificate made for this one"
)
_UNKNOWN_CA = (
    "its certificate is signed by no authority that is trusted here: name the right one in "
    "spec.index.qdrant.ca"
)
_OTHER = "its certificate is not accepted: look at it with `openssl s_client -showcerts`"
_NO_TLS = "it does not speak TLS: switch that on there, or write http:// and no ca"

_SAID = (
    ("certificate has expired", _EXPIRED),
    ("certificate is not yet valid", _EARLY),
    ("hostname mismatch", _OTHER_NAME),
    ("ip address mismatch", _OTHER_NAME),
    ("hostname verification check failed", _OTHER_NAME),
    ("unable to get local issuer certificate", _UNKNOWN_CA),
    ("unable to get issuer certificate", _UNKNOWN_CA),
    ("unable to verify the first certificate", _UNKNOWN_CA),
    ("self signed certificate", _UNKNOWN_CA),
    ("self-signed certificate", _UNKNOWN_CA),
)


def certificate_problem(said: str) -> str | None:
    """Why a server's certificate is refused, and what to do; None if it is not."""
    lowered = said.lower()
    if _REFUSED not in said and "hostname verification check failed" not in lowered:
        return None
    return next((meaning for words, meaning in _SAID if words in lowered), _OTHER)


def tls_problem(said: str) -> str | None:
    """The same of a server that speaks no TLS at all."""
    if "WRONG_VERSION_NUMBER" in said or "wrong version number" in said.lower():
        return _NO_TLS
    return None
