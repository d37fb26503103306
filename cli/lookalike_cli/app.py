"""The commands, each in a file of its own. What a command needs it imports when it runs, so that
`lookalike --help` answers at once and in the light install."""

from __future__ import annotations

import typer

from lookalike_cli import (
    apply,
    books,
    changing,
    delete,
    demo_catalogue,
    down,
    duplicates,
    gc,
    get,
    ingest,
    init,
    models,
    search,
    sizing,
    status,
    up,
    validate,
    version,
    weights,
)
from lookalike_cli.cluster import describe, logs, plan
from lookalike_cli.evaluation import calibrate, compare_models, evaluate

app = typer.Typer(
    name="lookalike",
    help="A self-hosted search for similar images. Start it with [bold]lookalike up -f "
    "FILE[/bold].",
    epilog="Exit codes: 0 success, 1 failure, 2 wrong usage, 3 no server answers, 4 the server "
    "refused, 5 success except for some images, 6 data would be lost and nobody "
    "confirmed it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

app.command("init", epilog=init.EXAMPLES)(init.init)
app.command("up", epilog=up.EXAMPLES)(up.up)
app.command("apply", epilog=apply.EXAMPLES)(apply.apply)
app.command("switch", epilog=changing.SWITCH_EXAMPLES)(changing.switch)
app.command("rollback", epilog=changing.ROLLBACK_EXAMPLES)(changing.rollback)
app.command("search", epilog=search.EXAMPLES)(search.search)
app.command("evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("calibrate", epilog=calibrate.EXAMPLES)(calibrate.calibrate)
app.command("compare-models", epilog=compare_models.EXAMPLES)(compare_models.compare_models)
app.command("models", epilog=models.EXAMPLES)(models.models)
app.add_typer(weights.app, name="weights")
app.command("duplicates", epilog=duplicates.EXAMPLES)(duplicates.duplicates)
app.command("status", epilog=status.EXAMPLES)(status.status)
app.command("get", epilog=get.EXAMPLES)(get.get)
app.command("delete", epilog=delete.EXAMPLES)(delete.delete)
app.command("ingest", epilog=ingest.EXAMPLES)(ingest.ingest)
app.command("runs", epilog=books.RUNS_EXAMPLES)(books.runs)
app.command("failures", epilog=books.FAILURES_EXAMPLES)(books.failures)
app.command("deletions", epilog=books.DELETIONS_EXAMPLES)(books.deletions)
app.command("restore", epilog=books.DELETIONS_EXAMPLES)(books.restore)
app.command("down", epilog=down.EXAMPLES)(down.down)
app.command("gc", epilog=gc.EXAMPLES)(gc.gc)
app.command("validate", epilog=validate.EXAMPLES)(validate.validate)
app.command("size", epilog=sizing.EXAMPLES)(sizing.size)
app.command("plan", epilog=plan.EXAMPLES)(plan.plan)
app.command("describe", epilog=describe.EXAMPLES)(describe.describe)
app.command("logs", epilog=logs.EXAMPLES)(logs.logs)
app.command("demo-catalogue", epilog=demo_catalogue.EXAMPLES)(demo_catalogue.demo_catalogue)
app.command("version")(version.version)
