"""The figures of rankings: by hand."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from lookalike_cli.evaluation.judgments import read
from lookalike_cli.evaluation.metrics import figures, means
from lookalike_cli.failure import Failure


def test_the_figures_of_a_ranking_by_hand() -> None:
    made = figures(["x", "a", "y", "b", "z"], {"a": 1, "b": 1, "c": 1}, 3, k=2, depth=5)
    assert made.precision == 1 / 2
    assert made.recall == 1 / 3
    assert made.average_precision == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert made.ndcg == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert made.reciprocal_rank == 1 / 2


def test_a_perfect_ranking_has_ones_and_an_empty_one_zeros() -> None:
    relevant = {"a": 3.0, "b": 1.0}
    best = figures(["a", "b", "x"], relevant, 2, k=2, depth=100)
    assert {best.precision, best.recall, best.average_precision, best.ndcg} == {1.0}
    assert best.reciprocal_rank == 1
    none = figures([], relevant, 2, k=2, depth=100)
    assert {none.precision, none.recall, none.average_precision, none.ndcg} == {0.0}
    assert none.reciprocal_rank == 0


def test_a_better_grade_at_the_top_is_worth_more() -> None:
    relevant = {"a": 3.0, "b": 1.0}
    first = figures(["a", "b"], relevant, 2, k=2, depth=2)
    second = figures(["b", "a"], relevant, 2, k=2, depth=2)
    assert first.ndcg == 1 > second.ndcg
    assert first.precision == second.precision


def test_a_short_ranking_does_not_raise_the_average_precision() -> None:
    relevant = dict.fromkeys("abcde", 1.0)
    assert figures(["a"], relevant, 5, k=5, depth=100).average_precision == 1 / 5
    assert figures(["a"], relevant, 5, k=1, depth=2).average_precision == 1 / 2


def test_intervals_hold_the_mean_and_narrow_with_more_queries() -> None:
    chosen = random.Random(3)

    def rows(n: int) -> list[object]:
        rankings = [chosen.sample("abcdefgh", 8) for _ in range(n)]
        return [figures(each, {"a": 1.0, "b": 1.0}, 2, k=3, depth=8) for each in rankings]

    few, many = means(rows(20)), means(rows(400))
    for name in few:
        assert few[name].low <= few[name].value <= few[name].high
        assert many[name].high - many[name].low < few[name].high - few[name].low
    same = rows(5)
    assert means(same) == means(same)


def test_a_query_without_relevant_documents_is_refused() -> None:
    with pytest.raises(ValueError, match="without relevant documents"):
        figures(["a"], {}, 0, k=1, depth=1)


def test_judgments_are_read_with_grades_filters_and_language(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    lines: list[dict[str, object]] = [
        {"text": "red mug", "relevant": ["m1", "m2"], "language": "en"},
        {"image": "a.jpg", "relevant": {"m1": 3}, "filters": {"status": "active"}},
        {"image": "https://example.com/a.jpg", "relevant": ["m1"]},
    ]
    file = tmp_path / "judgments.jsonl"
    file.write_text("\n\n".join(map(json.dumps, lines)))
    text, path, address = read(file)
    assert text.relevant == {"m1": 1.0, "m2": 1.0}
    assert (text.language, text.query) == ("en", {"type": "text", "value": "red mug"})
    assert path.query["value"] == str(tmp_path / "a.jpg")
    assert (path.relevant, path.filters) == ({"m1": 3.0}, {"status": "active"})
    assert address.query["value"] == "https://example.com/a.jpg"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "it is not JSON"),
        ("[]", "write an object"),
        ('{"relevant": ["a"]}', "write one of text, image, document"),
        ('{"text": "a", "image": "b", "relevant": ["a"]}', "write one of"),
        ('{"text": " ", "relevant": ["a"]}', "text is a text that is not empty"),
        ('{"text": "a"}', "relevant is a list"),
        ('{"text": "a", "relevant": []}', "it is not empty"),
        ('{"text": "a", "relevant": [1]}', "relevant is a list"),
        ('{"text": "a", "relevant": {"b": 0}}', "grades above 0"),
        ('{"text": "a", "relevant": {"b": true}}', "grades above 0"),
        ('{"text": "a", "relevent": ["b"], "relevant": ["b"]}', "unknown key 'relevent'"),
        ('{"image": "none.jpg", "relevant": ["b"]}', "there is no file"),
        ('{"text": "a", "relevant": ["b"], "language": 1}', "language is a text"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "judgments.jsonl"
    file.write_text('{"text": "a", "relevant": ["b"]}\n' + line)
    with pytest.raises(Failure, match="line 2: ") as failed:
        read(file)
    assert told in str(failed.value)


def test_an_empty_file_says_what_to_write(tmp_path: Path) -> None:
    file = tmp_path / "judgments.jsonl"
    file.write_text("\n")
    with pytest.raises(Failure, match="has no judgments"):
        read(file)
