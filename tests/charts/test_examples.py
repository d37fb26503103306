"""The examples for a cluster are valid and tell apart what they show."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from chart import ROOT

from lookalike_crds.load import load_files

RESOURCES = [
    path
    for path in sorted((ROOT / "examples" / "cluster").glob("*.yaml"))
    if "lookalike.dev/" in path.read_text()
]


@pytest.mark.parametrize("path", RESOURCES, ids=lambda p: p.stem)
def test_an_example_for_a_cluster_has_no_mistake(path: Path) -> None:
    loaded = load_files([path], standalone=True)
    assert [str(problem) for problem in loaded.problems] == []
    assert loaded.collections
    assert loaded.retrievers


def test_every_claim_that_the_examples_read_is_made_by_one_of_them() -> None:
    made = {
        each["metadata"]["name"]
        for each in yaml.safe_load_all((ROOT / "examples/cluster/images.yaml").read_text())
        if each["kind"] == "PersistentVolumeClaim"
    }
    read = {
        source.volume.claim_name
        for collection in load_files(RESOURCES).collections
        for source in collection.spec.sources
        if source.volume is not None
    }
    assert read == made
