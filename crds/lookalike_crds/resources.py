"""Both resources whole, as they stand in a YAML file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lookalike_crds.base import API_VERSION, Spec
from lookalike_crds.image_collection import ImageCollectionSpec
from lookalike_crds.names import LabelKey, LabelValue, Name, ServiceName
from lookalike_crds.retriever import RetrieverSpec

Text = Annotated[str, Field(max_length=4096)]


class Metadata(Spec):
    """The part of a Kubernetes ObjectMeta that people write."""

    name: Name
    namespace: Name | None = None
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, max_length=64)
    annotations: dict[LabelKey, Text] = Field(default_factory=dict, max_length=64)


class RetrieverMetadata(Metadata):
    """The same, of what is also a Service."""

    name: ServiceName


class ImageCollection(Spec):
    """Which images, which embedding model, which index."""

    api_version: Literal["lookalike.dev/v1alpha1"] = API_VERSION
    kind: Literal["ImageCollection"] = "ImageCollection"
    metadata: Metadata
    spec: ImageCollectionSpec = ImageCollectionSpec()


class Retriever(Spec):
    """A search endpoint over collections."""

    api_version: Literal["lookalike.dev/v1alpha1"] = API_VERSION
    kind: Literal["Retriever"] = "Retriever"
    metadata: RetrieverMetadata
    spec: RetrieverSpec


Resource = ImageCollection | Retriever
KINDS: dict[str, type[ImageCollection] | type[Retriever]] = {
    "ImageCollection": ImageCollection,
    "Retriever": Retriever,
}
