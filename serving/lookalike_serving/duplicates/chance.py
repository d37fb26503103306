"""How alike different pictures of a collection are by chance, and so from which score two pictures
are told to look alike.

    a sample of the collection's documents -> the scores of all pairs -> without the pairs that are
    the same picture by their hashes -> the highest scores, by rank

A threshold for a wanted share of false positives is read from these ranks. It says something about
`similar` alone: what is `exact` or a `copy` is decided by pixels, whatever the scores are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike_serving.duplicates.hash_join import POSITION_BITS, near, positions
from lookalike_serving.duplicates.hashes import Hashes, Position, unpacked

SAMPLE = 1000
"""Documents of which all pairs are measured."""
LEAST_SIMILAR = 0.5
"""No score below says that two pictures look alike, however different the others are."""
_LEAST_PAIRS = 190
"""Of different pictures, as 20 documents make. Fewer say too little."""
_HIGHEST_TARGET = 0.1
_STEP = 1.15
"""Ranks that are kept: each, and then one in 15 %."""
_SAME = 31
"""Bits of PDQ within which two pictures are the same."""


@dataclass(frozen=True, slots=True)
class Chance:
    """What was measured on a sample."""

    ranks: tuple[int, ...]
    """From 0, rising: how many pairs of different pictures scored higher…"""
    scores: tuple[float, ...]
    """… than this cosine. As many."""
    pairs: int
    """Pairs of different pictures."""
    copies: int
    """Pairs of the sample that were left out, since they are the same picture."""
    sampled: int
    """Documents of the sample."""
    documents: int
    """Of the collection, at that time."""
    model: str
    """Fingerprint of the model whose scores they are."""
    measured_at: str
    """RFC 3339, UTC."""

    def similar_from(self, target: float) -> float | None:
        """The lowest score that no more than the share `target` of the pairs of different pictures
        of the sample reach; None if there were too few pairs to tell."""
        if self.pairs < _LEAST_PAIRS:
            return None
        allowed = int(target * self.pairs)
        # Between two ranks that were kept: the higher score.
        at = max(i for i, rank in enumerate(self.ranks) if rank <= allowed)
        return max(LEAST_SIMILAR, math.nextafter(self.scores[at], math.inf))

    def holds(self, model: str, documents: int) -> bool:
        """Whether it is still of this model, and of a collection of about this size."""
        return model == self.model and (
            documents == self.documents or 0.8 < documents / max(1, self.documents) < 1.2
        )

    def as_payload(self) -> dict[str, Any]:
        return {"chance": json.dumps(asdict(self))}

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Chance | None:
        """None for what cannot be used: it is measured again then."""
        try:
            told = json.loads(payload["chance"])
            ranks = tuple(int(each) for each in told.pop("ranks"))
            scores = tuple(float(each) for each in told.pop("scores"))
            made = cls(ranks, scores, **told)
            usable = (
                len(ranks) == len(scores)
                and (not made.pairs or (ranks[0] == 0 and list(ranks) == sorted(set(ranks))))
                and all(math.isfinite(each) for each in scores)
                and min(made.pairs, made.copies, made.sampled, made.documents) >= 0
                and isinstance(made.model, str)
                and isinstance(made.measured_at, str)
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            return None
        return made if usable else None


def measured(
    sample: Sequence[tuple[NDArray[np.float32], Hashes | None]],
    documents: int,
    model: str,
    measured_at: str,
) -> Chance:
    """Blocks, up to 0.3 s for `SAMPLE` documents."""
    vectors = [vector for vector, _ in sample]
    stacked = np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 1), np.float32)
    stacked /= np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-9)
    different = ~_same_pictures([hashes for _, hashes in sample])
    upper = np.triu(np.ones(different.shape, bool), 1)
    scores = (stacked @ stacked.T)[different & upper]
    scores = -np.sort(-scores[np.isfinite(scores)])
    pairs, copies = len(scores), int((~different & upper).sum())
    ranks = _ranks(pairs)
    kept = tuple(float(each) for each in scores[list(ranks)])
    return Chance(ranks, kept, pairs, copies, len(sample), documents, model, measured_at)


def _ranks(pairs: int) -> tuple[int, ...]:
    last = min(pairs - 1, int(_HIGHEST_TARGET * pairs))
    ranks, at = [], 0
    while at <= last:
        ranks.append(at)
        at = max(at + 1, int(at * _STEP))
    return tuple(ranks)


def _same_pictures(hashes: Sequence[Hashes | None]) -> NDArray[np.bool_]:
    """(n, n): pairs that are the same picture, in any position, as far as hashes tell."""
    same = np.zeros((len(hashes), len(hashes)), bool)
    by_content: dict[bytes, list[int]] = {}
    for number, each in enumerate(hashes):
        if each is not None:
            by_content.setdefault(each.content, []).append(number)
    for numbers in by_content.values():
        same[np.ix_(numbers, numbers)] = True
    telling = np.array([i for i, each in enumerate(hashes) if each and not each.flat], np.int64)
    if len(telling):
        codes = unpacked([each.pdq for each in hashes if each and not each.flat])
        for position in Position:
            upright = position is Position.UPRIGHT
            radius = _SAME if upright else _SAME + POSITION_BITS
            found = telling[near(positions(codes, position), codes, radius)[:, :2]]
            same[found[:, 0], found[:, 1]] = same[found[:, 1], found[:, 0]] = True
    return same
