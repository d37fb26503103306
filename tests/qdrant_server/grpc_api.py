"""Qdrant's gRPC services over the store: requests and answers are the real messages.

A method that the project does not call is not here: it is answered UNIMPLEMENTED.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc.aio
from google.protobuf.message import Message
from qdrant_client import grpc as proto
from qdrant_client import models
from qdrant_client.conversions.conversion import (
    GrpcToRest,
    RestToGrpc,
    grpc_field_type_to_payload_schema,
)
from tests.qdrant_server.faults import Gate
from tests.qdrant_server.refusals import Refusal, wrong_input
from tests.qdrant_server.store import Store

Answer = Callable[[Store, Any], Message]

_DONE = proto.PointsOperationResponse(
    result=proto.UpdateResult(operation_id=0, status=proto.UpdateStatus.Completed)
)


def grpc_server(store: Store, gate: Gate) -> grpc.aio.Server:
    """A server of all services, bound to no address yet."""
    # -1: as much as a caller sends; keepalive pings are welcome, as they are to Qdrant.
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.http2.min_ping_interval_without_data_ms", 0),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    for service, methods in _SERVICES.items():
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                _behind(gate, f"{service}/{method}", store, answer),
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for method, (request, answer) in methods.items()
        }
        handler = grpc.method_handlers_generic_handler(f"qdrant.{service}", handlers)
        server.add_generic_rpc_handlers((handler,))
    return server


def _behind(gate: Gate, method: str, store: Store, answer: Answer) -> Callable[..., Any]:
    async def answered(request: Any, context: grpc.aio.ServicerContext) -> Message:
        metadata = dict(context.invocation_metadata() or ())
        key = metadata.get("api-key") or metadata.get("authorization", "").removeprefix("Bearer ")
        try:
            return await gate.passed(method, key or None, lambda: answer(store, request))
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.text)
            raise

    return answered


# Collections


def _get_collection(store: Store, asked: Any) -> Message:
    info = RestToGrpc.convert_collection_info(store.info(asked.collection_name))
    return proto.GetCollectionInfoResponse(result=info)


def _list_collections(store: Store, asked: Any) -> Message:
    found = [proto.CollectionDescription(name=name) for name in store.names()]
    return proto.ListCollectionsResponse(collections=found)


def _create(store: Store, asked: Any) -> Message:
    made = models.CreateCollection(
        vectors=_set(asked, "vectors_config", GrpcToRest.convert_vectors_config),
        shard_number=_set(asked, "shard_number"),
        replication_factor=_set(asked, "replication_factor"),
        hnsw_config=_set(asked, "hnsw_config", GrpcToRest.convert_hnsw_config_diff),
        quantization_config=_set(
            asked, "quantization_config", GrpcToRest.convert_quantization_config
        ),
        metadata=GrpcToRest.convert_payload(asked.metadata) or None,
    )
    return proto.CollectionOperationResponse(result=store.create(asked.collection_name, made))


def _update(store: Store, asked: Any) -> Message:
    change = GrpcToRest.convert_update_collection(asked)
    return proto.CollectionOperationResponse(result=store.update(asked.collection_name, change))


def _delete_collection(store: Store, asked: Any) -> Message:
    return proto.CollectionOperationResponse(result=store.delete_collection(asked.collection_name))


def _exists(store: Store, asked: Any) -> Message:
    found = proto.CollectionExists(exists=store.exists(asked.collection_name))
    return proto.CollectionExistsResponse(result=found)


def _update_aliases(store: Store, asked: Any) -> Message:
    operations = [GrpcToRest.convert_alias_operations(each) for each in asked.actions]
    return proto.CollectionOperationResponse(result=store.change_aliases(operations))


def _list_aliases(store: Store, asked: Any) -> Message:
    found = [RestToGrpc.convert_alias_description(alias) for alias in store.aliases()]
    return proto.ListAliasesResponse(aliases=found)


def _list_collection_aliases(store: Store, asked: Any) -> Message:
    aliases = store.aliases(asked.collection_name)
    found = [RestToGrpc.convert_alias_description(alias) for alias in aliases]
    return proto.ListAliasesResponse(aliases=found)


# Points


def _upsert(store: Store, asked: Any) -> Message:
    points = [_point(each) for each in asked.points]
    store.upsert(asked.collection_name, points)
    return _DONE


def _point(sent: Any) -> models.PointStruct:
    return models.PointStruct(
        id=GrpcToRest.convert_point_id(sent.id),
        payload=GrpcToRest.convert_payload(sent.payload),
        vector=GrpcToRest.convert_vectors(sent.vectors) if sent.HasField("vectors") else {},
    )


def _delete(store: Store, asked: Any) -> Message:
    store.delete(asked.collection_name, GrpcToRest.convert_points_selector(asked.points))
    return _DONE


def _set_payload(store: Store, asked: Any) -> Message:
    store.set_payload(
        asked.collection_name,
        GrpcToRest.convert_payload(asked.payload),
        GrpcToRest.convert_points_selector(asked.points_selector),
        _set(asked, "key"),
    )
    return _DONE


def _overwrite_payload(store: Store, asked: Any) -> Message:
    store.overwrite_payload(
        asked.collection_name,
        GrpcToRest.convert_payload(asked.payload),
        GrpcToRest.convert_points_selector(asked.points_selector),
    )
    return _DONE


def _delete_payload(store: Store, asked: Any) -> Message:
    selector = GrpcToRest.convert_points_selector(asked.points_selector)
    store.delete_payload(asked.collection_name, list(asked.keys), selector)
    return _DONE


def _clear_payload(store: Store, asked: Any) -> Message:
    store.clear_payload(asked.collection_name, GrpcToRest.convert_points_selector(asked.points))
    return _DONE


def _retrieve(store: Store, asked: Any) -> Message:
    records = store.retrieve(
        asked.collection_name,
        [GrpcToRest.convert_point_id(id) for id in asked.ids],
        _with_payload(asked),
        _with_vectors(asked),
    )
    return proto.GetResponse(result=[_record(record) for record in records])


def _record(record: models.Record) -> Message:
    return RestToGrpc.convert_record(record.model_copy(update={"payload": record.payload or {}}))


def _scroll(store: Store, asked: Any) -> Message:
    request = models.ScrollRequest(
        filter=_set(asked, "filter", GrpcToRest.convert_filter),
        limit=_set(asked, "limit"),
        offset=_set(asked, "offset", GrpcToRest.convert_point_id),
        with_payload=_with_payload(asked),
        with_vector=_with_vectors(asked),
        order_by=_set(asked, "order_by", GrpcToRest.convert_order_by),
    )
    records, following = store.scroll(asked.collection_name, request)
    return proto.ScrollResponse(
        result=[_record(record) for record in records],
        next_page_offset=(
            None if following is None else RestToGrpc.convert_extended_point_id(following)
        ),
    )


def _count(store: Store, asked: Any) -> Message:
    filter = _set(asked, "filter", GrpcToRest.convert_filter)
    count = proto.CountResult(count=store.count(asked.collection_name, filter))
    return proto.CountResponse(result=count)


def _facet(store: Store, asked: Any) -> Message:
    request = models.FacetRequest(
        key=asked.key,
        filter=_set(asked, "filter", GrpcToRest.convert_filter),
        limit=_set(asked, "limit"),
    )
    hits = store.facet(asked.collection_name, request)
    return proto.FacetResponse(hits=[RestToGrpc.convert_facet_value_hit(hit) for hit in hits])


def _query(store: Store, asked: Any) -> Message:
    (points,) = store.query(asked.collection_name, [_query_request(asked)])
    return proto.QueryResponse(result=[RestToGrpc.convert_scored_point(point) for point in points])


def _query_batch(store: Store, asked: Any) -> Message:
    requests = [_query_request(each) for each in asked.query_points]
    answers = store.query(asked.collection_name, requests)
    return proto.QueryBatchResponse(
        result=[
            proto.BatchResult(result=[RestToGrpc.convert_scored_point(point) for point in points])
            for points in answers
        ]
    )


def _query_request(asked: Any) -> models.QueryRequest:
    request = GrpcToRest.convert_query_points(asked)
    # Over gRPC a payload comes only where it is asked for.
    return request.model_copy(update={"with_payload": request.with_payload or False})


def _create_index(store: Store, asked: Any) -> Message:
    if asked.HasField("field_index_params"):
        schema = GrpcToRest.convert_payload_schema_params(asked.field_index_params)
    elif asked.HasField("field_type"):
        schema = GrpcToRest.convert_payload_schema_type(
            grpc_field_type_to_payload_schema(asked.field_type)
        )
    else:
        raise wrong_input(f"no schema for the index on {asked.field_name}")
    store.create_index(asked.collection_name, asked.field_name, schema)
    return _DONE


def _delete_index(store: Store, asked: Any) -> Message:
    store.delete_index(asked.collection_name, asked.field_name)
    return _DONE


def _health(store: Store, asked: Any) -> Message:
    return proto.HealthCheckReply(title="qdrant - vector search engine", version=store.version)


def _set(message: Any, name: str, convert: Callable[[Any], Any] = lambda value: value) -> Any:
    """An optional field, converted; None where it is not set."""
    return convert(getattr(message, name)) if message.HasField(name) else None


def _with_payload(asked: Any) -> Any:
    return _set(asked, "with_payload", GrpcToRest.convert_with_payload_selector) or False


def _with_vectors(asked: Any) -> Any:
    return _set(asked, "with_vectors", GrpcToRest.convert_with_vectors_selector) or False


_SERVICES: dict[str, dict[str, tuple[Any, Answer]]] = {
    "Qdrant": {"HealthCheck": (proto.HealthCheckRequest, _health)},
    "Collections": {
        "Get": (proto.GetCollectionInfoRequest, _get_collection),
        "List": (proto.ListCollectionsRequest, _list_collections),
        "Create": (proto.CreateCollection, _create),
        "Update": (proto.UpdateCollection, _update),
        "Delete": (proto.DeleteCollection, _delete_collection),
        "CollectionExists": (proto.CollectionExistsRequest, _exists),
        "UpdateAliases": (proto.ChangeAliases, _update_aliases),
        "ListAliases": (proto.ListAliasesRequest, _list_aliases),
        "ListCollectionAliases": (proto.ListCollectionAliasesRequest, _list_collection_aliases),
    },
    "Points": {
        "Upsert": (proto.UpsertPoints, _upsert),
        "Delete": (proto.DeletePoints, _delete),
        "SetPayload": (proto.SetPayloadPoints, _set_payload),
        "OverwritePayload": (proto.SetPayloadPoints, _overwrite_payload),
        "DeletePayload": (proto.DeletePayloadPoints, _delete_payload),
        "ClearPayload": (proto.ClearPayloadPoints, _clear_payload),
        "Get": (proto.GetPoints, _retrieve),
        "Scroll": (proto.ScrollPoints, _scroll),
        "Facet": (proto.FacetCounts, _facet),
        "Count": (proto.CountPoints, _count),
        "Query": (proto.QueryPoints, _query),
        "QueryBatch": (proto.QueryBatchPoints, _query_batch),
        "CreateFieldIndex": (proto.CreateFieldIndexCollection, _create_index),
        "DeleteFieldIndex": (proto.DeleteFieldIndexCollection, _delete_index),
    },
}
