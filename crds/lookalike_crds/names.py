"""What names must look like: one rule for each purpose, for whoever checks it.

The types below carry the rules to pydantic (`lookalike validate`, `lookalike up`, the operator) and
into the schemas of the CRDs. Names of our resources are stricter than what Kubernetes asks of any
object: they name Services, volumes and labels. That rule is CEL in the CRDs, since a schema cannot
describe `metadata` otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field


@dataclass(frozen=True, slots=True)
class NameRule:
    """What one kind of name must look like."""

    pattern: str
    """Anchored at both ends; without look-around, so that every engine can read it."""
    longest: int
    words: str
    """What to write."""

    def field(self) -> Any:
        return Field(min_length=1, max_length=self.longest, pattern=self.pattern)


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"

LABEL = NameRule(
    rf"^{_LABEL}$",
    63,
    "write at most 63 lower-case letters, digits and -, with a letter or digit at both ends",
)
"""RFC 1123: what can be a label's value, a volume's name, a part of a host name."""
SERVICE = NameRule(
    r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
    63,
    "write at most 63 lower-case letters, digits and -, beginning with a letter, and ending with a "
    "letter or digit, as names of Services do",
)
"""RFC 1035."""
OBJECT = NameRule(
    rf"^{_SUBDOMAIN}$",
    253,
    "write at most 253 lower-case letters, digits, - and ., with a letter or digit at both ends "
    "and beside each dot",
)
"""Of most of the objects of Kubernetes: Secrets, claims, classes."""
HOST = NameRule(
    rf"^(\*\.)?{_SUBDOMAIN}$",
    253,
    "write a host name in lower-case letters, digits, - and ., such as search.example.com or "
    "*.example.com",
)
DATA_KEY = NameRule(
    r"^([-_a-zA-Z0-9]|\.[-_a-zA-Z0-9])[-._a-zA-Z0-9]*$",
    253,
    "write letters, digits, -, _ and ., not two dots at the start, as keys of Secrets are",
)
LABEL_KEY = NameRule(
    rf"^({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$",
    317,
    "write at most 63 letters, digits, -, _ and ., with a letter or digit at both ends; a host "
    "name and / may stand before them",
)
LABEL_VALUE = NameRule(
    r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    63,
    "write at most 63 letters, digits, -, _ and ., with a letter or digit at both ends",
)

_KEY = r"""[^ .\[\]"'\\\x00-\x1f\x7f-\x9f]"""
_KEY_OR_SPACE = r"""[^.\[\]"'\\\x00-\x1f\x7f-\x9f]"""
_MORE_KEY = rf"({_KEY_OR_SPACE}*{_KEY})?"
METADATA_KEY = NameRule(
    rf"^{_KEY.replace('[^', '[^_', 1)}{_MORE_KEY}(\.{_KEY}{_MORE_KEY})*$",
    128,
    "write a metadata key of at most 128 characters, such as price, Shot On, or camera.make for a "
    "key of an object: no _ at its start, no space at an end, no brackets, quotes and backslashes",
)
"""What serving can filter by (`lookalike_serving.index.filters`), and is not its own."""

ALL = (LABEL, SERVICE, OBJECT, HOST, DATA_KEY, LABEL_KEY, LABEL_VALUE, METADATA_KEY)

OF_RESOURCES: Mapping[str, NameRule] = {"ImageCollection": LABEL, "Retriever": SERVICE}
"""`metadata.name` of each kind. A Retriever is a Service, too."""

Name = Annotated[str, LABEL.field()]
ServiceName = Annotated[str, SERVICE.field()]
ObjectName = Annotated[str, OBJECT.field()]
HostName = Annotated[str, HOST.field()]
DataKey = Annotated[str, DATA_KEY.field()]
LabelKey = Annotated[str, LABEL_KEY.field()]
FieldName = Annotated[str, METADATA_KEY.field()]
"""A metadata key; with dots, of an object within. A leading underscore is reserved for
Lookalike's own payload."""
LabelValue = Annotated[str, Field(max_length=LABEL_VALUE.longest, pattern=LABEL_VALUE.pattern)]


def rule_in_cel(kind: str) -> dict[str, Any]:
    """The rule of a kind's `metadata.name`, as the root of its schema carries it.

    It holds at creation alone. The root of an object changes with every write of its status, so
    that an object of an earlier time, whose name is refused today, could otherwise neither be
    told of nor be deleted.
    """
    rule = OF_RESOURCES[kind]
    name = "self.metadata.name"
    fits = f"{name}.size() <= {rule.longest} && {name}.matches('{rule.pattern}')"
    return {
        "rule": f"oldSelf.hasValue() || ({fits})",
        "optionalOldSelf": True,
        "message": f"metadata.name: {rule.words}",
    }
