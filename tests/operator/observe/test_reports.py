"""What a serving pod reports of a collection, asked as the operator asks it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.configs import collection, retriever, serving_config
from tests.support.servers import serving

from lookalike_crds.config import AccessConfig
from lookalike_crds.image_collection import DuplicatesSpec
from lookalike_crds.retriever import RetrieverSpec
from lookalike_crds.retriever_report import RetrieverReport
from lookalike_operator.observe import reports
from lookalike_operator.observe.reports import Reports
from lookalike_operator.plan.model import Meta, RetrieverFacts, Settings
from lookalike_serving.scans.record import Control, Order, Progress, Scan, ScanState
from lookalike_serving.scans.runner import ScanRunner

PHOTOS = Meta("shop", "photos", "uid-of-photos", 1)
SEARCH = RetrieverFacts(
    Meta("shop", "search", "uid-of-search", 1),
    RetrieverSpec.model_validate({"collections": [{"name": "photos"}]}),
    available=True,
)
SETTINGS = Settings(serving_image="registry.example/serving")


async def test_a_pod_tells_of_the_last_scan_to_who_has_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = datetime(2026, 3, 1, 3, 5, tzinfo=UTC)
    progress = Progress(
        ScanState.COMPLETED, done=10, groups=2, duplicates=3, bytes=400, finished_at=ended
    )
    scan = Scan(Order("a" * 32, "photos", ended), Control(), progress)

    def noted(self: ScanRunner) -> None:
        self.ended["photos"] = scan

    monkeypatch.setattr(ScanRunner, "start", noted)
    (tmp_path / "token").write_text("secret")
    config = serving_config(
        tmp_path,
        collection(tmp_path, "photos", duplicates=DuplicatesSpec(target_fpr=0.01)),
        access=AccessConfig(internal_token_file=tmp_path / "token"),
    )
    asked: list[str] = []
    with serving(config) as url:
        monkeypatch.setattr(reports, "service_url", lambda *_: url)

        async def told(token: str | None, **changes: Any) -> Any:
            async def secret(key: Any) -> str | None:
                asked.append(str(key))
                return token

            asking = Reports(secret, SETTINGS)
            try:
                first = await asking.of(replace(PHOTOS, **changes), SEARCH)
                assert await asking.of(replace(PHOTOS, **changes), SEARCH) == first
                return first
            finally:
                await asking.close()

        report = await told("secret")
        assert (report.index, report.not_switched) == ("photos", None)
        similarity = report.similarity
        assert (similarity.target_fpr, similarity.similar_from) == (0.01, None)
        assert similarity.documents == 0
        found = report.last_duplicate_scan
        assert found.model_dump(exclude_none=True) == {
            "id": "a" * 32,
            "state": "Completed",
            "time": "2026-03-01T03:05:00Z",
            "scanned": 10,
            "groups": 2,
            "documents": 3,
            "bytes": 400,
        }
        assert asked == ["search-internal/token"]  # the second answer is the kept one
        assert await told("wrong") is None
        assert await told(None) is None
        assert await told("secret", name="other") is None
    assert await told("secret") is None  # it does not answer any more


async def test_a_pod_tells_what_was_calibrated_and_whether_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("secret")
    config = serving_config(
        tmp_path,
        collection(tmp_path, "photos"),
        retrievers=(retriever("search", "photos"),),
        access=AccessConfig(internal_token_file=tmp_path / "token"),
    )

    async def secret(key: Any) -> str:
        return "secret"

    async def told(meta: Meta = SEARCH.meta) -> Any:
        asking = Reports(secret, SETTINGS)
        try:
            return await asking.of_retriever(meta)
        finally:
            await asking.close()

    with serving(config) as url:
        monkeypatch.setattr(reports, "service_url", lambda *_: url)
        assert (await told()).calibration is None
        assert await told(replace(SEARCH.meta, name="other")) == RetrieverReport()
        async with httpx.AsyncClient(base_url=f"{url}/v1/retrievers") as client:
            scores = (await client.get("/search")).json()["scores"]
            measured = {"precision": 0.91, "low": 0.8, "high": 1.0, "recall": 0.7, "empty": 0.1}
            text = {"min_score": 0.25, "wanted": 0.9, "count": 40, "pairs": 400, **measured}
            body = {"scores": scores, "basis": "judgments", "thresholds": {"text": text}}
            (await client.put("/search/calibration", json=body)).raise_for_status()
        found = (await told()).calibration
        assert (found.holds, found.changed) == (True, ())
        assert found.in_words.endswith(
            ": text 0.25 (precision 0.91, 95 % interval 0.80 to 1.00, 40 queries)"
        )
