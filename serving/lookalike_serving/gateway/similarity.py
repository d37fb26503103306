"""From which score pictures are called similar, as answers show it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class SimilarityShown(BaseModel):
    """Measured on a sample of the collection."""

    target_fpr: float = Field(
        description="The share of the pairs of different pictures that may score as high by chance."
    )
    similar_from: float | None = Field(
        description="The cosine from which two pictures are similar. Null if there are too few "
        "different pictures to measure it: then none are called similar."
    )
    pairs: int = Field(description="The number of pairs of different pictures in the sample.")
    sampled: int = Field(description="The number of documents in the sample.")
    documents: int = Field(description="The number of documents in the collection at that time.")
    measured_at: str = Field(description="RFC 3339: when it was measured.")
