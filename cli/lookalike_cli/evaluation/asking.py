"""What `evaluate` and `calibrate` have in common: their options, judgments and progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from lookalike import Lookalike
    from lookalike_cli.evaluation.judgments import Judgment

File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        help='Judgments, one per line: {"text": "red mug", "relevant": ["mug-1"]}; with image '
        "or document instead of text.",
    ),
]
Same = Annotated[
    str | None,
    typer.Option(
        help="Without a file: a metadata field. Documents with the same value are relevant for "
        "each other, and are searched for by each other."
    ),
]
Sample = Annotated[
    int, typer.Option(min=1, max=100_000, help="With --same: at most so many queries.")
]
Conditions = Annotated[
    list[str] | None,
    typer.Option("--filter", help="A condition for every query, as in search."),
]
Searched = Annotated[
    str | None, typer.Option("--retriever", help="Retriever, if the server has several.")
]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that say what is searched for."""

    file: Path | None
    same: str | None
    sample: int
    conditions: Sequence[str] | None
    retriever: str | None

    @property
    def basis(self) -> str:
        """What is taken as relevant, in words."""
        return "judgments" if self.same is None else f"documents with the same {self.same}"[:256]


@dataclass(frozen=True, slots=True)
class Session:
    """A server with the judgments for one of its retrievers."""

    client: Lookalike
    retriever: str
    judgments: list[Judgment]
    filters: Mapping[str, Any] | None

    @contextmanager
    def progress(self) -> Iterator[Callable[[], None]]:
        """Shows how many queries have been answered; call what it gives after each."""
        from lookalike_cli.printing import notices

        count, total = 0, len(self.judgments)
        with notices().status(f"0 of {total} queries") as status:

            def done() -> None:
                nonlocal count
                count += 1
                status.update(f"{count} of {total} queries")

            yield done


@contextmanager
def session(
    asked: Asked, url: str | None, data_dir: Path, api_key: str | None
) -> Iterator[Session]:
    """Raises Failure for wrong options or judgments before anything is searched."""
    from lookalike_cli.connection import connect, only
    from lookalike_cli.evaluation import judgments
    from lookalike_cli.filters import parse_filters

    if (asked.file is None) == (asked.same is None):
        raise Failure("name a file of judgments (-f), or a metadata field (--same)", ExitCode.USAGE)
    read = None if asked.file is None else judgments.read(asked.file)
    filters = parse_filters(asked.conditions or ())
    with connect(url, data_dir, api_key) as client:
        name = asked.retriever or only(
            [each.name for each in client.retrievers.list()], "retriever", "--retriever"
        )
        if read is None:
            read = _from_metadata(client, name, str(asked.same), asked.sample, filters)
        yield Session(client, name, read, filters)


def _from_metadata(
    client: Lookalike, retriever: str, field: str, sample: int, filters: Mapping[str, Any] | None
) -> list[Judgment]:
    from lookalike_cli.evaluation.judgments import same_value

    collections = client.retrievers.get(retriever).collections
    if len(collections) != 1:
        raise Failure(
            f"retriever {retriever} searches several collections: --same takes one with a single "
            "collection; otherwise write judgments into a file",
            ExitCode.USAGE,
        )
    name = collections[0].name
    return same_value(client.documents.list(name, filters=filters, limit=1000), field, sample)
