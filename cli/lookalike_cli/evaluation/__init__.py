"""`lookalike evaluate`: how good the results of a retriever are, against judgments.

judgments.py   what is asked, and which documents are relevant: from a file, or from metadata
metrics.py     the figures of a ranking, and their confidence intervals
run.py         the searches: as the retriever answers, and with exact search
report.py      the figures of all queries and of groups of them, as JSON and as a table
command.py     the command
"""

from lookalike_cli.evaluation.command import EXAMPLES, evaluate

__all__ = ["EXAMPLES", "evaluate"]
