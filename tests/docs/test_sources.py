"""The pages about sources: each kind has one, and what its YAML says is what the software reads."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from tests.support.object_store import keys_of_s3, s3_server
from tests.support.pictures import encoded, paint, plain

from lookalike_crds.load import load_resources
from lookalike_crds.sources import KINDS, SourceSpec
from lookalike_serving.ingest.survey import Survey, survey

PAGES = Path(__file__).parents[2] / "docs" / "sources"
_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page(kind: str) -> Path:
    return PAGES / f"{kind.replace('_', '-')}.md"


def sources(kind: str) -> list[SourceSpec]:
    """Those of every YAML on the page."""
    found = []
    for block in _YAML.findall(page(kind).read_text()):
        loaded = load_resources(block)
        assert not loaded.problems, loaded.problems
        found += [source for each in loaded.collections for source in each.spec.sources]
    return found


def surveyed(source: SourceSpec, folder: Path) -> Survey:
    here = source.with_kind(source.kind.resolved(lambda path: str(folder / path)))
    return asyncio.run(survey(here, (), secrets=folder / "secrets"))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_page_whose_yaml_is_valid(kind: str) -> None:
    found = sources(kind)
    assert found
    assert {type(source.kind) for source in found} == {KINDS[kind]}


def test_a_folder(tmp_path: Path) -> None:
    paint(tmp_path / "catalogue" / "shoes" / "1.jpg", 1)
    paint(tmp_path / "catalogue" / "2.png", 2)
    made = surveyed(sources("volume")[0], tmp_path)
    assert (made.comes_in, made.error) == (1, None)


def test_a_list(tmp_path: Path) -> None:
    paint(tmp_path / "1.jpg", 1)
    (tmp_path / "catalogue.csv").write_text("picture,sku,cost\n1.jpg,a,3\n")
    made = surveyed(sources("urls")[0], tmp_path)
    assert (made.comes_in, made.error) == (1, None)


def test_a_bucket(tmp_path: Path) -> None:
    source = sources("s3")[0]
    with s3_server() as s3:
        s3.bucket(source.kind.bucket)  # type: ignore[attr-defined]
        s3.put("photos", "2024/shoes/1.jpg", encoded(plain(), "JPEG"))
        s3.put("photos", "2023/shoes/1.jpg", encoded(plain(), "JPEG"))
        keys_of_s3(tmp_path / "secrets", source.kind.secrets[0])
        here = source.with_kind(source.kind.model_copy(update={"endpoint": s3.url}))
        made = surveyed(here, tmp_path)
    assert (made.comes_in, made.sampled, made.undecodable, made.error) == (1, 1, [], None)
