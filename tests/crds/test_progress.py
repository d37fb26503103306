"""A run's result fits where Kubernetes keeps it, and stays JSON that says what was counted."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.progress import (
    MOST_TOLD,
    OTHERS,
    RESULT_BYTES,
    ByCause,
    Counts,
    ItemError,
    RunResult,
    RunState,
    summed_up,
    total_of,
)

numbers = st.integers(0, 10**12)
counts = st.builds(
    Counts,
    listed=numbers,
    new=numbers,
    updated=numbers,
    unchanged=numbers,
    deleted=numbers,
    failed=numbers,
    skipped=numbers,
)
names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
texts = st.text(max_size=3000)
errors = st.lists(st.builds(ItemError, source=names, key=texts, cause=texts), max_size=20)
warnings = st.lists(
    st.builds(
        ByCause,
        cause=st.sampled_from("abcdefghijkl") | texts,
        count=st.integers(1, 10**9),
        of=st.sampled_from(["image", "row", "file"]),
        source=names,
        example=texts,
    ),
    max_size=30,
)
results = st.builds(
    RunResult,
    state=st.sampled_from(RunState),
    message=st.none() | texts,
    sources=st.dictionaries(names, counts, max_size=64),
    documents=st.none() | numbers,
    index_name=names,
    errors=errors,
    warnings=warnings.map(summed_up),
    finished_at=st.just(datetime(2026, 1, 2, tzinfo=UTC)),
)


@given(results)
def test_a_result_fits_and_keeps_its_sums(result: RunResult) -> None:
    encoded = result.to_json()
    assert len(encoded) <= RESULT_BYTES
    read = RunResult.model_validate_json(encoded)
    assert read.state is result.state
    assert read.documents == result.documents
    assert read.index_name == result.index_name
    assert total_of(read.sources.values()) == total_of(result.sources.values())


def result(**changes: object) -> RunResult:
    return RunResult.model_validate(
        {
            "state": "COMPLETED_WITH_ERRORS",
            "index_name": "shoes-12345678",
            "finished_at": datetime(2026, 1, 2, tzinfo=UTC),
            **changes,
        }
    )


def test_a_small_result_loses_nothing() -> None:
    whole = result(
        message="2 images could not be ingested",
        sources={"disk": Counts(listed=7, new=5, failed=2)},
        documents=5,
        errors=[ItemError(source="disk", key="ü/a.png", cause="is not an image")],
    )
    assert RunResult.model_validate_json(whole.to_json()) == whole


def test_the_last_errors_stay_longest() -> None:
    many = [ItemError(source="disk", key=f"{i}.png", cause="x" * 900) for i in range(20)]
    read = RunResult.model_validate_json(result(errors=many).to_json())
    assert 5 < len(read.errors) < 20
    assert read.errors[-1].key == "19.png"


def test_sources_without_room_are_summed_up() -> None:
    sources = {f"source-{i:02d}-{'x' * 50}": Counts(listed=10**9, new=10**9) for i in range(64)}
    read = RunResult.model_validate_json(result(sources=sources).to_json())
    assert OTHERS in read.sources
    assert total_of(read.sources.values()).listed == 64 * 10**9


def test_of_many_warnings_the_most_frequent_stay() -> None:
    many = [
        ByCause(cause=f"{i} " + "x" * 500, count=20 - i, source="s", example="y" * 500)
        for i in range(9)
    ]
    read = RunResult.model_validate_json(result(warnings=many, message="z" * 900).to_json())
    assert 4 <= len(read.warnings) <= 9
    assert read.warnings[0].cause.startswith("0 ")


@given(warnings, warnings)
def test_warnings_are_summed_up_by_cause_and_few(one: list[ByCause], other: list[ByCause]) -> None:
    """However often they are summed up on the way, as in partitions of a run."""
    told = summed_up([*summed_up(one), *summed_up(other)])
    assert sum(each.count for each in told) == sum(each.count for each in [*one, *other])
    assert len(told) <= MOST_TOLD + 1
    assert len({each.cause for each in told}) == len(told)
    assert summed_up(told) == told


def test_a_warning_is_told_in_a_line() -> None:
    cause = "animated: the first frame is used"
    told = ByCause(cause=cause, count=1200, source="s", example="a\n.gif")
    assert told.told() == "1,200 images: animated: the first frame is used (such as a .gif)"
    assert told.model_copy(update={"count": 1}).told().startswith("1 image: ")
