"""`evaluate --html`: the figures, and the worst queries with the pictures that were found.

One file that needs nothing else: pictures are in it, at the size at which they are shown.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike_cli.evaluation.metrics import NAMES
from lookalike_cli.evaluation.report import rows, worst
from lookalike_cli.evaluation.run import Judged

if TYPE_CHECKING:
    from lookalike import Lookalike

_QUERIES = 20
_RESULTS = 10
_MISSED = 5
_SIDE = 128
_MOST_BYTES = 8 << 20
"""Of the file of a query that is put into the page."""

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --right: #1a7f37; --missed: #b35900; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; } th, td { padding: .3rem .8rem; text-align: right; }
th { font-weight: 600; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td small { display: block; opacity: .7; white-space: nowrap; } tr.exact td { opacity: .7; }
article { border-top: 1px solid var(--line); padding: 1rem 0; }
article h3 { font-size: 1rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: .8rem; align-items: flex-start; }
figure { margin: 0; width: 8.2rem; } figure.query { margin-right: 1.2rem; }
figure img, figure .words { width: 8rem; height: 8rem; object-fit: contain; background: #8882;
  border: 3px solid transparent; border-radius: .4rem; box-sizing: border-box; }
figure .words { display: flex; align-items: center; justify-content: center; padding: .4rem;
  text-align: center; overflow: hidden; overflow-wrap: anywhere; }
figure.right img, figure.right .words { border-color: var(--right); }
figure.missed img, figure.missed .words { border: 3px dashed var(--missed); }
figcaption { font-size: .8rem; overflow-wrap: anywhere; } figcaption b { display: block; }
figure.right b { color: var(--right); } figure.missed b { color: var(--missed); }
"""


def page(
    client: Lookalike, collections: Sequence[str], judged: Sequence[Judged], k: int, basis: str
) -> str:
    """The whole page. `collections`: of the retriever. `basis`: what was taken as relevant."""
    chosen = worst(judged, _QUERIES)
    ids: dict[str, None] = {}
    for each in chosen:
        ids |= dict.fromkeys([*each.results[:_RESULTS], *_missed(each)])
        if each.judgment.query["type"] == "document":
            ids[each.judgment.query["value"]] = None
    with ThreadPoolExecutor(8) as threads:
        made = threads.map(lambda id: _thumbnail(client, collections, id), ids)
        pictures = dict(zip(ids, made, strict=True))
    articles = "".join(_article(each, pictures) for each in chosen)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><h1>How good are the results?</h1>"
        f"<p>{len(judged)} queries of {escape(', '.join(collections))}. "
        f"Relevant: {escape(basis)}.</p>{_figures(judged, k)}"
        f"<h2>The {len(chosen)} queries with the lowest nDCG</h2>"
        "<p>A green frame: the result is relevant. A dashed frame: a relevant document that is not "
        f"among the first {k} results.</p>{articles}</html>\n"
    )


def _figures(judged: Sequence[Judged], k: int) -> str:
    names = "".join(f"<th>{escape(name.format(k=k))}" for name in NAMES.values())
    lines = []
    for row in rows(judged):
        means = "".join(
            f"<td>{each.value:.3f}<small>{each.low:.3f}–{each.high:.3f}</small>"
            for each in row.index.values()
        )
        exact = "".join(f"<td>{each.value:.3f}" for each in row.exact.values())
        lines.append(
            f"<tr><td>{escape(row.group)}<td>{row.queries}{means}<td>{row.overlap:.3f}"
            f'<tr class="exact"><td>with exact search<td>{exact}<td>'
        )
    return (
        f'<div class="scroll"><table><tr><th>group<th>queries{names}<th>found of exact'
        f"{''.join(lines)}</table></div>"
    )


def _article(each: Judged, pictures: dict[str, str | None]) -> str:
    shown = [_query(each, pictures)]
    for rank, id in enumerate(each.results[:_RESULTS], 1):
        kind = "right" if id in each.right else "wrong"
        shown.append(_picture(kind, f"{rank}", id, pictures.get(id)))
    shown += [_picture("missed", "missed", id, pictures.get(id)) for id in _missed(each)]
    return (
        f"<article><h3>nDCG {each.figures.ndcg:.3f} · {escape(each.judgment.shown)}</h3>"
        f'<div class="pictures">{"".join(shown)}</div></article>'
    )


def _query(each: Judged, pictures: dict[str, str | None]) -> str:
    kind, value = each.judgment.query["type"], each.judgment.query["value"]
    if kind == "text":
        return _picture("query", "query", "", None, words=str(value))
    if kind == "document":
        return _picture("query", "query", str(value), pictures.get(value))
    return _picture("query", "query", "", _own(value), words=each.judgment.shown)


def _picture(kind: str, title: str, id: str, data: str | None, words: str | None = None) -> str:
    if data is None:
        inside = f'<div class="words">{escape(words or "no picture")}</div>'
    else:
        inside = f'<img src="{data}" alt="{escape(id or words or "")}">'
    caption = f"<figcaption><b>{title}</b>{escape(id)}</figcaption>"
    return f'<figure class="{kind}">{inside}{caption}</figure>'


def _missed(each: Judged) -> list[str]:
    """Relevant documents, as far as their ids are known, that are not among the results."""
    return sorted(each.judgment.relevant.keys() - set(each.results))[:_MISSED]


def _thumbnail(client: Lookalike, collections: Sequence[str], id: str) -> str | None:
    """As a data URL; None if there is none."""
    from lookalike import LookalikeError

    for collection in collections:
        try:
            return _data(client.documents.thumbnail(collection, id, size=_SIDE))
        except LookalikeError:
            continue
    return None


def _own(value: object) -> str | None:
    """The picture of a query as a data URL; None if it is an address, or too large."""
    if isinstance(value, bytes):
        return _data(value)
    file = Path(str(value))
    if "://" in str(value) or not file.is_file() or file.stat().st_size > _MOST_BYTES:
        return None
    return _data(file.read_bytes())


def _data(content: bytes) -> str:
    """Browsers tell the format from the content."""
    return f"data:image/*;base64,{base64.b64encode(content).decode()}"
