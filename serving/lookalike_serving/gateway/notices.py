"""What services of buckets send when objects change: read into notices. Pure.

    S3, MinIO        {"Records": [{"s3": {"bucket": {"name"}, "object": {"key"}}}]}
      in SNS         {"Type": "Notification", "Message": "<the above as text>"}
      in EventBridge {"source": "aws.s3", "detail": {"bucket": {"name"}, "object": {"key"}}}
    Azure            [{"subject": "/blobServices/default/containers/…/blobs/…"}], as Event Grid's
                     own events or as CloudEvents
    GCS              {"message": {"attributes": {"bucketId", "objectId"}}} of Pub/Sub, or the object
                     itself, as Pub/Sub sends it unwrapped and Eventarc as a CloudEvent

Only which object it is about is taken: what happened to it, the object itself tells.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from pydantic_core import from_json

from lookalike_serving.ingest.changes.matching import ObjectNotice

MOST_EVENTS = 10_000
"""Of one request."""
_MOST_WRAPPINGS = 4
_BLOB = re.compile(r"/blobServices/[^/]+/containers/([^/]+)/blobs/(.+)", re.DOTALL)
_ACCOUNT = re.compile(r"/storageAccounts/([^/]+)", re.IGNORECASE)
_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
_LONGEST_KEY = 4096

KNOWN = (
    "an S3 or MinIO notification (also in SNS or EventBridge), an Event Grid event or CloudEvent "
    "of Azure Blob Storage, or a Pub/Sub message or object of Google Cloud Storage"
)


class NotUnderstood(ValueError):
    """The body is none of the known kinds; the message says what it is."""


@dataclass(slots=True)
class Notices:
    """What one request tells."""

    objects: list[ObjectNotice] = field(default_factory=list)
    other: int = 0
    """Events that are about no object, such as the test that S3 sends first."""
    subscription: Mapping[str, Any] | None = None
    """An SNS subscription that is to be confirmed."""
    validation_code: str | None = None
    """Of Event Grid, to be sent back."""


def read_notices(body: bytes | str) -> Notices:
    """Raises NotUnderstood."""
    found = Notices()
    _read(_parsed(body), found, 0)
    return found


def _parsed(text: bytes | str) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise NotUnderstood(f"is not JSON: {error}") from None


def _read(event: Any, found: Notices, depth: int) -> None:
    if depth > _MOST_WRAPPINGS:
        raise NotUnderstood("is wrapped too many times")
    if isinstance(event, list):
        if len(event) > MOST_EVENTS:
            raise NotUnderstood(f"has {len(event):,} events: send at most {MOST_EVENTS:,} at once")
        for each in event:
            _read(each, found, depth + 1)
    elif not isinstance(event, dict):
        raise NotUnderstood("is no JSON object or list of them")
    elif isinstance(event.get("Records"), list):
        _read_records(event["Records"], found)
    elif "Type" in event and "TopicArn" in event:
        _read_sns(event, found, depth)
    elif event.get("source") == "aws.s3":
        _add_s3(event.get("detail"), found, escaped=False)
    elif event.get("Event") == "s3:TestEvent":
        found.other += 1
    elif isinstance(event.get("message"), dict):
        _read_pubsub(event["message"], found)
    elif event.get("kind") == "storage#object":
        _add_gcs(event.get("bucket"), event.get("name"), found)
    elif "eventType" in event or "specversion" in event:
        _read_cloud_event(event, found)
    else:
        told = ", ".join(sorted(map(str, event))[:8])[:200] or "nothing"
        raise NotUnderstood(f"is none of the events that are known (it has {told})")


# -- Amazon ----------------------------------------------------------------------------------------


def _read_records(records: list[Any], found: Notices) -> None:
    if len(records) > MOST_EVENTS:
        raise NotUnderstood(f"has {len(records):,} records: send at most {MOST_EVENTS:,} at once")
    for record in records:
        _add_s3(record.get("s3") if isinstance(record, dict) else None, found, escaped=True)


def _add_s3(told: Any, found: Notices, *, escaped: bool) -> None:
    """`escaped`: keys are written as in a form, with `+` for a space."""
    bucket = _at(told, "bucket", "name")
    key = _at(told, "object", "key")
    key = unquote_plus(key, errors="replace") if escaped else key
    found.objects.append(ObjectNotice("s3", bucket, _checked(key)))


def _read_sns(event: dict[str, Any], found: Notices, depth: int) -> None:
    match event["Type"]:
        case "Notification":
            message = event.get("Message")
            if not isinstance(message, str):
                raise NotUnderstood("is an SNS notification without a Message")
            _read(_parsed(message), found, depth + 1)
        case "SubscriptionConfirmation":
            found.subscription = event
        case "UnsubscribeConfirmation":
            found.other += 1
        case _:
            raise NotUnderstood("is of a Type that SNS does not send")


# -- Azure and CloudEvents -------------------------------------------------------------------------


def _read_cloud_event(event: dict[str, Any], found: Notices) -> None:
    kind = event.get("eventType") or event.get("type")
    subject, data = event.get("subject"), event.get("data")
    texts = (kind, event.get("specversion", ""), subject or "")
    if not all(isinstance(each, str) for each in texts) or not kind:
        raise NotUnderstood("is an event whose type, specversion or subject is no text")
    if kind == _VALIDATION:
        found.validation_code = _at(data, "validationCode")
        return
    blob = _BLOB.fullmatch(subject or "")
    if blob is not None:
        source = event.get("topic") or event.get("source") or ""
        account = _ACCOUNT.search(str(source))
        found.objects.append(
            ObjectNotice("az", blob[1], _checked(blob[2]), account[1] if account else _host(data))
        )
    elif isinstance(data, dict) and data.get("kind") == "storage#object":
        _add_gcs(data.get("bucket"), data.get("name"), found)
    else:
        found.other += 1


def _host(data: Any) -> str | None:
    """The account that is in the address of a blob."""
    url = data.get("url") if isinstance(data, dict) else None
    host = urlsplit(url).hostname if isinstance(url, str) else None
    return host.partition(".")[0] if host and ".blob." in host else None


# -- Google ----------------------------------------------------------------------------------------


def _read_pubsub(message: dict[str, Any], found: Notices) -> None:
    attributes = message.get("attributes")
    if isinstance(attributes, dict) and "objectId" in attributes:
        _add_gcs(attributes.get("bucketId"), attributes["objectId"], found)
        return
    try:
        told = _parsed(base64.b64decode(message["data"], validate=True))
    except (KeyError, binascii.Error, TypeError, ValueError):
        raise NotUnderstood(
            "is a Pub/Sub message without the attribute objectId, whose data is not JSON in base64"
        ) from None
    if isinstance(told, dict) and told.get("kind") == "storage#object":
        _add_gcs(told.get("bucket"), told.get("name"), found)
    else:
        found.other += 1


def _add_gcs(bucket: Any, name: Any, found: Notices) -> None:
    if not isinstance(bucket, str) or not isinstance(name, str) or not bucket:
        raise NotUnderstood("names no bucket or no object")
    found.objects.append(ObjectNotice("gs", bucket, _checked(name)))


# --------------------------------------------------------------------------------------------------


def _at(told: Any, *path: str) -> str:
    for name in path:
        told = told.get(name) if isinstance(told, dict) else None
    if not isinstance(told, str) or not told:
        raise NotUnderstood(f"has no {'.'.join(path)}")
    return told


def _checked(key: str) -> str:
    if not key or len(key) > _LONGEST_KEY:
        raise NotUnderstood("names an object without a key, or with one that no object can have")
    return key


def binary_cloud_event(headers: Mapping[str, str], body: bytes) -> bytes | None:
    """A CloudEvent whose attributes are headers (`ce-type`, …), with them in its body; None for
    anything else. Raises NotUnderstood."""
    if "ce-type" not in headers or "ce-specversion" not in headers:
        return None
    attributes = dict(_attributes(headers))
    return json.dumps({**attributes, "data": _parsed(body) if body else None}).encode()


def _attributes(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if name.startswith("ce-"):
            yield name[3:], value


# -- as a schema -----------------------------------------------------------------------------------

_TEXT = {"type": "string", "minLength": 1, "maxLength": _LONGEST_KEY}


def _object(**properties: Any) -> dict[str, Any]:
    """An object that has all of these, and may have others."""
    return {"type": "object", "required": list(properties), "properties": properties}


_IN_S3 = _object(bucket=_object(name=_TEXT), object=_object(key=_TEXT))
_EVENT: dict[str, Any] = {
    "anyOf": [
        {
            "title": "S3 or MinIO",
            **_object(
                Records={
                    "type": "array",
                    "maxItems": MOST_EVENTS,
                    "items": _object(s3=_IN_S3),
                }
            ),
        },
        {"title": "EventBridge", **_object(source={"const": "aws.s3"}, detail=_IN_S3)},
        {"title": "Event Grid", **_object(eventType=_TEXT, subject=_TEXT)},
        {"title": "CloudEvent", **_object(specversion=_TEXT, type=_TEXT, subject=_TEXT)},
        {
            "title": "Pub/Sub",
            **_object(message=_object(attributes=_object(bucketId=_TEXT, objectId=_TEXT))),
        },
        {
            "title": "Google's object",
            **_object(kind={"const": "storage#object"}, bucket=_TEXT, name=_TEXT),
        },
    ]
}
SCHEMA: dict[str, Any] = {
    "anyOf": [_EVENT, {"type": "array", "maxItems": MOST_EVENTS, "items": _EVENT}]
}
"""What is read, for the description of the API; wrappings of SNS hold it as text."""
