"""`lookalike evaluate` and `calibrate` over a real service with the demo model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from tests.support.configs import collection, retriever, serving_config
from tests.support.pictures import drawn, encoded
from tests.support.servers import serving

from lookalike import Lookalike
from lookalike_cli.evaluation.edits import EDITS

COLOURS = ("red", "blue", "green")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Six documents, two of each colour, which is also their `product`."""
    data = tmp_path_factory.mktemp("evaluate")
    config = serving_config(data, collection(data, "shop"), retrievers=(retriever("r", "shop"),))
    with serving(config) as address:
        with Lookalike(address) as client:
            for colour in COLOURS:
                for n in (1, 2):
                    client.documents.upload(
                        "shop",
                        encoded(drawn(colour, side=90 + 10 * n)),
                        document_id=f"{colour}-{n}",
                        metadata={"product": colour, "n": n, "maker": {"name": colour}},
                    )
        yield address


def written(folder: Path, *lines: dict[str, object]) -> Path:
    file = folder / "judgments.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def of(colour: str) -> list[str]:
    return [f"{colour}-1", f"{colour}-2"]


def test_judgments_become_figures_beside_exact_search(
    lookalike: Command, server: str, tmp_path: Path
) -> None:
    (tmp_path / "red.png").write_bytes(encoded(drawn("red", side=100)))
    file = written(
        tmp_path,
        {"text": "red", "relevant": of("red"), "language": "en"},
        {"text": "blue", "relevant": of("blue"), "language": "en"},
        {"image": "red.png", "relevant": ["red-1"], "filters": {"n": 1}},
        {"text": "green", "relevant": of("red"), "language": "wrong"},
    )
    ran = lookalike("evaluate", "-f", file, "--k", 2, "--url", server, "-o", "json")
    assert ran.code == 0, ran.err
    everything, english, wrong, filtered = ran.json["groups"]
    assert [everything["queries"], english["queries"], wrong["queries"]] == [4, 2, 1]
    assert english["group"] == "language: en"
    assert filtered["group"] == 'filters: {"n": 1}'
    for row in (english["index"], english["exact"]):
        for name in ("precision", "recall", "average_precision", "ndcg", "reciprocal_rank"):
            assert row[name]["value"] == 1
    assert filtered["index"]["precision"]["value"] == 0.5, "one of two results can be relevant"
    assert filtered["index"]["recall"]["value"] == 1
    assert wrong["index"]["precision"]["value"] == 0
    assert 0 < wrong["index"]["reciprocal_rank"]["value"] <= 1 / 3
    assert everything["overlap"] == 1, "so few vectors are all compared"
    low, high = (everything["index"]["precision"][bound] for bound in ("low", "high"))
    assert low < everything["index"]["precision"]["value"] < high
    assert len(ran.json["queries"]) == 4


def test_the_table_names_the_figures_and_the_worst_queries(
    lookalike: Command, server: str, tmp_path: Path
) -> None:
    file = written(
        tmp_path,
        {"text": "red", "relevant": of("red")},
        {"text": "green", "relevant": ["blue-1", "gone-7"]},
    )
    ran = lookalike("evaluate", "-f", file, "--url", server)
    assert ran.code == 0, ran.err
    for word in ("P@10", "R@10", "mAP", "nDCG@10", "MRR", "with exact search", "lowest nDCG"):
        assert word in ran.out
    assert ran.out.index("green: green-") < ran.out.index("red: red-")
    assert "1 relevant documents of the judgments do not exist, such as 'gone-7'" in ran.err


@pytest.mark.parametrize("field", ["product", "maker.name"])
def test_documents_with_one_value_are_relevant_for_each_other(
    lookalike: Command, server: str, field: str
) -> None:
    ran = lookalike("evaluate", "--same", field, "--k", 1, "--url", server, "-o", "json")
    assert ran.code == 0, ran.err
    (row,) = ran.json["groups"]
    assert row["queries"] == 6
    assert row["index"]["precision"]["value"] == 1
    assert row["index"]["recall"]["value"] == 1
    half = ("--filter", "n=1")
    ran = lookalike("evaluate", "--same", field, *half, "--url", server)
    assert ran.code == 2
    assert f"no two documents have the same value of '{field}'" in ran.err
    for sample, queries in ((3, 3), (4, 4), (9, 6)):
        asked = ("--same", field, "--sample", sample)
        few = lookalike("evaluate", *asked, "--url", server, "-o", "json")
        assert few.json["groups"][0]["queries"] == queries


def test_judgments_or_a_field_are_named(lookalike: Command) -> None:
    for arguments in ([], ["-f", "judgments.jsonl", "--same", "product"]):
        ran = lookalike("evaluate", *arguments)
        assert ran.code == 2
        assert "name a file of judgments (-f), a metadata field (--same), or --edited" in ran.err


def test_filters_of_a_judgment_and_of_the_command_hold_together(
    lookalike: Command, server: str, tmp_path: Path
) -> None:
    file = written(tmp_path, {"text": "red", "relevant": of("red"), "filters": {"n": 1}})
    arguments = ("-f", file, "--filter", "product=red", "--url", server, "-o", "json")
    ran = lookalike("evaluate", *arguments)
    assert ran.code == 0, ran.err
    assert ran.json["queries"][0]["results"] == ["red-1"]


def test_calibrate_finds_the_score_that_parts_right_from_wrong(
    lookalike: Command, server: str, tmp_path: Path
) -> None:
    words = [{"text": colour, "relevant": of(colour)} for colour in COLOURS]
    file = written(tmp_path, *words, {"document": "red-1", "relevant": ["red-2"]})
    arguments = ("-f", file, "--precision", "1", "--url", server)
    ran = lookalike("calibrate", *arguments, "-o", "json")
    assert ran.code == 0, ran.err
    image, text = ran.json
    assert (image["queries"], text["queries"], text["count"]) == ("image", "text", 3)
    assert text["pairs"] == 3 * 6
    found = text["threshold"]
    assert (found["precision"], found["low"], found["high"]) == (1, 1, 1)
    with Lookalike(server) as client:
        for colour in COLOURS:
            with_it = client.retrievers.search("r", colour, min_score=found["min_score"])
            assert {each.document_id for each in with_it} <= set(of(colour))
    assert "only 3 text queries" in ran.err
    assert "have different scales" in ran.err
    table = lookalike("calibrate", *arguments)
    for word in ("min_score", "precision", "relevant found", "empty answers", "100.0%"):
        assert word in table.out


def test_calibrate_says_if_no_score_is_good_enough(
    lookalike: Command, server: str, tmp_path: Path
) -> None:
    file = written(tmp_path, {"text": "red", "relevant": ["blue-1"]})
    ran = lookalike("calibrate", "-f", file, "--precision", "0.9", "--url", server)
    assert ran.code == 1
    assert "no score gives it" in ran.out
    assert "no score gives a wanted precision" in ran.err


def test_a_saved_calibration_is_what_auto_means(
    lookalike: Command, server: str, tmp_path: Path
) -> None:
    before = lookalike("search", "red", "--min-score", "auto", "--url", server)
    assert before.code == 4
    assert "has no calibration: measure one with `lookalike calibrate --save`" in before.err
    words = [{"text": colour, "relevant": of(colour)} for colour in COLOURS]
    file = written(tmp_path, *words)
    several = ("-f", file, "--save", "--precision", 1, "--precision", 0.5, "--url", server)
    ran = lookalike("calibrate", *several)
    assert ran.code == 2
    assert "name one --precision" in ran.err
    ran = lookalike("calibrate", "-f", file, "--save", "--precision", 1, "--url", server)
    assert ran.code == 0, ran.err
    assert "saved for text queries of retriever r" in ran.err
    measured = lookalike("calibrate", "-f", file, "--precision", 1, "--url", server, "-o", "json")
    with Lookalike(server) as client:
        kept = client.retrievers.calibration("r")
        assert (kept.holds, kept.basis, kept.thresholds["text"].wanted) == (True, "judgments", 1)
        for colour in COLOURS:
            found = client.retrievers.search("r", colour, min_score="auto")
            assert {each.document_id for each in found} <= set(of(colour))
            assert found.min_score == kept.thresholds["text"].min_score
            exactly = measured.json[0]["threshold"]["min_score"]
            assert found.min_score == pytest.approx(exactly, abs=2e-6)
        after = lookalike("search", "red", "--min-score", "auto", "--url", server, "-o", "json")
        assert after.json["min_score"] == kept.thresholds["text"].min_score
        status = lookalike("status", "--url", server)
        assert "min_score: auto of r: calibrated at 20" in status.out
        assert f"text {kept.thresholds['text'].min_score:.4g} (precision 1.00" in status.out
        client.retrievers.delete_calibration("r")


def test_a_wrong_cut_off_is_refused_before_anything_is_searched(lookalike: Command) -> None:
    ran = lookalike("search", "red", "--min-score", "automatic")
    assert ran.code == 2
    assert "--min-score is 'automatic': write a number, or auto" in ran.err


def test_edited_copies_need_no_judgments_and_say_so(lookalike: Command, server: str) -> None:
    arguments = ("--edited", "--k", 1, "--url", server)
    ran = lookalike("evaluate", *arguments, "-o", "json")
    assert ran.code == 0, ran.err
    assert "nobody has judged these results: a query is an edited copy" in ran.err
    assert ran.json["basis"] == "self-supervised: edited copies of stored pictures"
    groups = {each["group"]: each["queries"] for each in ran.json["groups"]}
    assert groups == {"all": 6, **{f"edit: {name}": 1 for name in EDITS}}
    assert ran.json["groups"][0]["index"]["reciprocal_rank"]["value"] > 0.5
    query, *_ = ran.json["queries"]
    assert query["query"]["value"].endswith(f", {query['edit']}"), "no bytes of pictures"
    table = lookalike("evaluate", *arguments, "--sample", 2)
    assert "Relevant: self-supervised: edited copies of stored pictures" in table.out
    ran = lookalike("calibrate", "--edited", "--precision", 0.5, "--url", server, "-o", "json")
    assert (ran.json[0]["queries"], ran.json[0]["count"]) == ("image", 6)
    assert ran.json[0]["basis"].startswith("self-supervised")


def test_a_page_shows_the_worst_queries_with_their_pictures(
    lookalike: Command, server: str, tmp_path: Path
) -> None:
    (tmp_path / "red.png").write_bytes(encoded(drawn("red", side=100)))
    file = written(
        tmp_path,
        {"text": "<b>green</b>", "relevant": ["blue-1"]},
        {"image": "red.png", "relevant": ["red-1"]},
        {"document": "red-1", "relevant": ["red-2"]},
    )
    made = tmp_path / "page.html"
    ran = lookalike("evaluate", "-f", file, "--k", 2, "--url", server, "--html", made)
    assert ran.code == 0, ran.err
    page = made.read_text()
    assert 'src="http' not in page, "it needs nothing but itself"
    assert "&lt;b&gt;green&lt;/b&gt;" in page
    assert "<b>green" not in page
    assert page.count('<figure class="query">') == 3
    assert page.count('<figure class="right">') == 2
    assert page.count('<figure class="missed">') == 1, "blue-1 is not among the first two"
    assert page.index("nDCG 0.000") < page.index("nDCG 1.000")
    ran = lookalike("evaluate", "-f", file, "--url", server, "--html", tmp_path / "no" / "page")
    assert ran.code == 1
    assert "cannot be written: No such file or directory" in ran.err
