"""`lookalike evaluate` and `calibrate`: how good the results of a retriever are, against judgments.

asking.py      the options, judgments and progress that both commands have
edits.py       edited copies of stored pictures as queries
judgments.py   what is asked, and which documents are relevant: from a file, or from metadata
run.py         the searches: as the retriever answers, and with exact search
metrics.py     the figures of a ranking, and their confidence intervals
thresholds.py  the score below which results are mostly wrong
report.py      the figures of all queries and of groups of them, as JSON and as a table
"""
