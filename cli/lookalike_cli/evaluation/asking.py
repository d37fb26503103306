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
Edited = Annotated[
    bool,
    typer.Option(
        "--edited",
        help="Without a file: search with edited copies of stored pictures (cropped, mirrored, "
        "darker, …). Only the document that was edited is relevant.",
    ),
]
Sample = Annotated[
    int, typer.Option(min=1, max=100_000, help="With --same or --edited: at most so many queries.")
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
    edited: bool
    sample: int
    conditions: Sequence[str] | None
    retriever: str | None

    @property
    def basis(self) -> str:
        """What is taken as relevant, in words."""
        if self.edited:
            return "self-supervised: edited copies of stored pictures"
        if self.same is not None:
            return f"self-supervised: documents with the same {self.same}"[:256]
        return "judgments"

    def check(self, file_option: str) -> None:
        """Raises Failure unless exactly one thing says what is relevant."""
        if sum((self.file is not None, self.same is not None, self.edited)) != 1:
            raise Failure(
                f"name a file of judgments ({file_option}), a metadata field (--same), or --edited "
                "to search with edited copies of stored pictures",
                ExitCode.USAGE,
            )

    @property
    def caution(self) -> str | None:
        """What the figures do not say, if nobody has judged anything."""
        if self.edited:
            return (
                "nobody has judged these results: a query is an edited copy of a stored picture, "
                "and only that document is relevant. The figures and thresholds are about copies, "
                "and say nothing about other pictures of the same thing: for these, use judgments "
                "(-f) or --same"
            )
        if self.same is not None:
            return (
                f"nobody has judged these results: documents with the same {self.same} count as "
                "relevant, and all others as not relevant"
            )
        return None


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
    from lookalike_cli.printing import notice

    asked.check("-f")
    read = None if asked.file is None else judgments.read(asked.file)
    filters = parse_filters(asked.conditions or ())
    with connect(url, data_dir, api_key) as client:
        name = asked.retriever or only(
            [each.name for each in client.retrievers.list()], "retriever", "--retriever"
        )
        if read is None:
            read = _self_supervised(client, name, asked, filters)
        if asked.caution is not None:
            notice(asked.caution)
        yield Session(client, name, read, filters)


def _self_supervised(
    client: Lookalike, retriever: str, asked: Asked, filters: Mapping[str, Any] | None
) -> list[Judgment]:
    """Judgments from what is stored. Raises Failure."""
    from lookalike import APIError
    from lookalike_cli.evaluation.edits import edited_copies, sampled
    from lookalike_cli.evaluation.judgments import same_value
    from lookalike_cli.printing import notice

    collections = client.retrievers.get(retriever).collections
    if len(collections) != 1:
        raise Failure(
            f"retriever {retriever} searches several collections: --same and --edited take one "
            "with a single collection; otherwise write judgments into a file",
            ExitCode.USAGE,
        )
    name = collections[0].name
    documents = client.documents.list(name, filters=filters, limit=1000)
    if asked.same is not None:
        return same_value(documents, asked.same, asked.sample)

    def image(id: str) -> bytes | None:
        try:
            return client.documents.image(name, id)
        except APIError:
            return None

    judgments, without = edited_copies(sampled(documents, asked.sample), image)
    if without:
        notice(f"{without} documents of the sample have no picture that can be read: left out")
    return judgments
