"""How good results are: `lookalike evaluate`, `calibrate` and `compare-models`.

asking.py      the options, judgments and progress that the commands have
edits.py       edited copies of stored pictures as queries
judgments.py   what is asked, and which documents are relevant: from a file, or from metadata
run.py         the searches: as the retriever answers, and with exact search
metrics.py     the figures of a ranking, and their confidence intervals
thresholds.py  the score below which results are mostly wrong
sample.py      documents and queries on which models are compared
models.py      which models are compared
page.py        the figures and the worst queries as a page with pictures
report.py      the figures of all queries and of groups of them, as JSON and as a table
"""
