"""`lookalike validate`."""

from __future__ import annotations

from pathlib import Path

from command import Command

EXAMPLES = Path(__file__).parents[2] / "examples"

BROKEN = """\
apiVersion: lookalike.dev/v1alpha1
kind: ImageCollection
metadata: { name: Catalogue }
spec:
  fields: [{ name: price, type: Flaot }]
---
apiVersion: lookalike.dev/v1alpha1
kind: Retriever
metadata: { name: shop }
spec:
  collections: [{ name: other }]
  serach: {}
"""


def test_the_quickstart_is_valid(lookalike: Command) -> None:
    ran = lookalike("validate", "-f", EXAMPLES / "quickstart.yaml", "--standalone")
    assert ran.code == 0
    assert ran.out == "valid: ImageCollection/catalogue, Retriever/similarity-retriever\n"


def test_every_error_is_told_at_once_with_path_value_and_remedy(
    lookalike: Command, tmp_path: Path
) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    ran = lookalike("validate", "-f", "broken.yaml")
    assert ran.code == 1
    assert "metadata.name = 'Catalogue'" in ran.out
    assert "spec.fields[0].type = 'Flaot'" in ran.out
    assert "did you mean Float?" in ran.out
    assert "spec.serach" in ran.out
    assert "3 errors" in ran.out


def test_as_json_each_error_is_an_object(lookalike: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    ran = lookalike("validate", "-f", "broken.yaml", "-o", "json")
    assert ran.code == 1
    assert ran.json["valid"] is False
    paths = {(error["document"], error["path"]) for error in ran.json["errors"]}
    assert paths == {(1, "metadata.name"), (1, "spec.fields[0].type"), (2, "spec.serach")}


def test_a_retriever_alone_is_valid_but_not_for_standing_alone(
    lookalike: Command, tmp_path: Path
) -> None:
    retriever = BROKEN.split("---\n")[1].replace("  serach: {}\n", "")
    (tmp_path / "retriever.yaml").write_text(retriever)
    assert lookalike("validate", "-f", "retriever.yaml").code == 0
    assert lookalike("validate", "-f", "retriever.yaml", "--standalone").code == 1


def test_a_file_that_is_not_there_is_an_error(lookalike: Command) -> None:
    ran = lookalike("validate", "-f", "nope.yaml")
    assert ran.code == 1
    assert "nope.yaml" in ran.out
