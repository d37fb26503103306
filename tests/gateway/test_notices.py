"""What services of buckets send, read into the objects that it is about."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lookalike_crds.config import CollectionSources
from lookalike_crds.sources import SourceSpec
from lookalike_serving.gateway.notices import NotUnderstood, binary_cloud_event, read_notices
from lookalike_serving.gateway.subscriptions import confirmation_of
from lookalike_serving.ingest.changes.matching import ObjectNotice, sources_of
from lookalike_serving.problems import Problem

S3 = {"Records": [{"s3": {"bucket": {"name": "photos"}, "object": {"key": "a+b/%C3%A9.jpg"}}}]}
BRIDGE = {
    "version": "0",
    "detail-type": "Object Deleted",
    "source": "aws.s3",
    "detail": {"bucket": {"name": "photos"}, "object": {"key": "a b/é.jpg"}},
}
SUBJECT = "/blobServices/default/containers/pictures/blobs/a b/é.jpg"
TOPIC = "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/shop1"
GRID = [{"eventType": "Microsoft.Storage.BlobCreated", "subject": SUBJECT, "topic": TOPIC}]
CLOUD = {
    "specversion": "1.0",
    "type": "Microsoft.Storage.BlobDeleted",
    "source": TOPIC,
    "subject": SUBJECT,
}
OBJECT = {"kind": "storage#object", "bucket": "photos", "name": "a b/é.jpg"}
ATTRIBUTES = {"bucketId": "photos", "objectId": "a b/é.jpg", "eventType": "OBJECT_DELETE"}


def sns(message: Any) -> dict[str, Any]:
    topic = "arn:aws:sns:eu-central-1:1:t"
    return {"Type": "Notification", "TopicArn": topic, "Message": json.dumps(message)}


@pytest.mark.parametrize(
    ("body", "scheme"),
    [
        (S3, "s3"),
        ({"EventName": "s3:ObjectCreated:Put", "Key": "photos/x", **S3}, "s3"),
        (sns(S3), "s3"),
        (sns(BRIDGE), "s3"),
        (BRIDGE, "s3"),
        (GRID, "az"),
        (CLOUD, "az"),
        ([CLOUD], "az"),
        ({"message": {"attributes": ATTRIBUTES, "data": ""}, "subscription": "s"}, "gs"),
        ({"message": {"data": base64.b64encode(json.dumps(OBJECT).encode()).decode()}}, "gs"),
        (OBJECT, "gs"),
        ({"specversion": "1.0", "type": "google.cloud.storage", "data": OBJECT}, "gs"),
    ],
)
def test_every_kind_names_the_object(body: Any, scheme: str) -> None:
    [found] = read_notices(json.dumps(body).encode()).objects
    bucket = "pictures" if scheme == "az" else "photos"
    account = "shop1" if scheme == "az" else None
    assert found == ObjectNotice(scheme, bucket, "a b/é.jpg", account)  # type: ignore[arg-type]


def test_a_cloud_event_may_have_its_attributes_in_headers() -> None:
    headers = {"ce-specversion": "1.0", "ce-type": "x", "ce-subject": SUBJECT, "ce-source": TOPIC}
    whole = binary_cloud_event(headers, b'{"api": "PutBlob"}')
    assert whole is not None
    assert read_notices(whole).objects == [ObjectNotice("az", "pictures", "a b/é.jpg", "shop1")]
    assert binary_cloud_event({}, b"{}") is None


@pytest.mark.parametrize(
    "body",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent"},
        sns({"Event": "s3:TestEvent"}),
        {"Type": "UnsubscribeConfirmation", "TopicArn": "t"},
        {"specversion": "1.0", "type": "Microsoft.Storage.X", "subject": "/else"},
    ],
)
def test_what_is_about_no_object_is_counted(body: Any) -> None:
    found = read_notices(json.dumps(body))
    assert (found.objects, found.other) == ([], 1)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "is not JSON"),
        (b"3", "is no JSON object"),
        (b"{}", "none of the events"),
        (b'{"hello": 1}', "it has hello"),
        (b'{"Records": [3]}', "has no bucket.name"),
        (b'{"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": ""}}}]}', "object.key"),
        (json.dumps([[[[[[S3]]]]]]).encode(), "wrapped"),
        (json.dumps({"Records": [{}] * 10_001}).encode(), "at most 10,000"),
        (b'{"message": {"data": "%"}}', "base64"),
        (b'{"message": {}}', "without the attribute"),
        (b'{"Type": "Else", "TopicArn": "t"}', "SNS"),
        (b'{"specversion": 1, "type": "x"}', "no text"),
        (b'{"kind": "storage#object", "bucket": 3}', "names no bucket"),
    ],
)
def test_anything_else_is_refused_with_what_it_is(body: bytes, told: str) -> None:
    with pytest.raises(NotUnderstood, match=told):
        read_notices(body)


def test_event_grid_asks_for_its_code() -> None:
    event = {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent"}
    body = json.dumps([{**event, "data": {"validationCode": "abc"}}])
    assert read_notices(body).validation_code == "abc"


TOPIC_ARN = "arn:aws:sns:eu-central-1:123456789012:photos"
URL = (
    "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn="
    f"{TOPIC_ARN}&Token=2336412f37"
)


def test_a_subscription_is_confirmed_at_sns_alone() -> None:
    assert confirmation_of({"TopicArn": TOPIC_ARN, "SubscribeURL": URL}) == URL
    for wrong in (
        None,
        URL.replace("https", "http"),
        URL.replace("amazonaws.com", "amazonaws.com.evil.example"),
        URL.replace("sns.eu", "evil.example/sns.eu"),
        URL.replace("https://", "https://user@"),
        URL.replace(".com/", ".com:8443/"),
        URL.replace(".com/", ".com/latest/"),
        URL.replace("ConfirmSubscription", "DeleteTopic"),
        URL.replace("photos", "other"),
        "http://169.254.169.254/",
    ):
        with pytest.raises(Problem, match="not an address of Amazon SNS"):
            confirmation_of({"TopicArn": TOPIC_ARN, "SubscribeURL": wrong})


def declared(*sources: dict[str, Any]) -> CollectionSources:
    specs = tuple(SourceSpec.model_validate(each) for each in sources)
    return CollectionSources(collection="shop", sources=specs)


def test_only_objects_of_declared_sources_are_read() -> None:
    shop = declared(
        {"name": "all", "s3": {"bucket": "photos"}},
        {"name": "some", "s3": {"bucket": "photos", "prefix": "in/a"}},
        {"name": "else", "s3": {"bucket": "other"}},
        {"name": "blobs", "azureBlob": {"account": "shop1", "container": "photos"}},
        {"name": "table", "gcs": {"bucket": "photos"}, "metadata": {"file": "t.csv"}},
    )
    found, why = sources_of(ObjectNotice("s3", "photos", "in/ab.jpg"), shop)
    assert (found, why) == ([("all", "in/ab.jpg"), ("some", "ab.jpg")], None)
    # Rows are read again when their table changes.
    assert sources_of(ObjectNotice("gs", "photos", "t.csv"), shop) == ([("table", "t.csv")], None)
    for notice, told in (
        (ObjectNotice("s3", "none", "a.jpg"), "no bucket"),
        (ObjectNotice("az", "photos", "a.jpg", "shop2"), "no bucket"),
        (ObjectNotice("gs", "photos", "folder/"), "a folder"),
    ):
        found, why = sources_of(notice, shop)
        assert found == []
        assert told in str(why)
