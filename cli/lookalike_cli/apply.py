"""`lookalike apply`: applies changed files to a running server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.failure import ExitCode, Failure, missing_extra
from lookalike_cli.options import DEFAULT_DATA_DIR, DataDir, Files, Output, OutputFormat

if TYPE_CHECKING:
    from lookalike_cli.apply_plan import Configuration, Step
    from lookalike_cli.rendering import Rendered
    from lookalike_crds.load import Loaded
    from lookalike_serving.machine.rundir import RunDirectory, State

EXAMPLES = """Examples:

lookalike apply -f my.yaml

lookalike apply -f my.yaml --dry-run

lookalike apply -f my.yaml --yes --wait --output json"""


def apply(
    file: Files,
    yes: Annotated[
        bool, typer.Option("--yes", help="Apply even if documents are no longer found afterwards.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and change nothing.")
    ] = (False),
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when all images are ingested.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Apply changed files to the running server, without restarting what does not change.

    Shows what would change first, and asks if something would be lost. If a file is invalid or a
    step fails, nothing changes, and the server keeps answering as before.
    """
    from lookalike_cli.following import end_by, follow_ingestions
    from lookalike_cli.printing import print_json
    from lookalike_cli.resources import load, print_warnings, refuse_errors

    resources = load(file, output)
    if find_spec("ray") is None:
        raise missing_extra("ray")
    from lookalike_cli.preflight import checked

    resources = checked(resources)
    refuse_errors(resources, output)
    print_warnings(resources)
    change = prepared(resources, data_dir)
    if output is Output.TEXT:
        print_steps(change.steps)
    answer: dict[str, Any] = {}
    if change.steps and not dry_run:
        change.confirm(yes=yes)
        answer = change.carry_out()
    if output is Output.JSON:
        told = [asdict(each) for each in change.steps]
        print_json({"steps": told, "applied": bool(answer), **answer})
    elif answer:
        _say(answer)
    if wait:
        end_by(follow_ingestions(change.run, lambda: state_of(change.run)))


def take_over(files: Sequence[Path], data_dir: Path) -> None:
    """`apply` if there is no terminal to ask on: reports what would be lost, with the command.

    Raises Failure; ends the command if the files are invalid.
    """
    from lookalike_cli.preflight import checked
    from lookalike_cli.printing import notice
    from lookalike_cli.resources import load, refuse_errors

    resources = checked(load(files, Output.TEXT))
    refuse_errors(resources, Output.TEXT)
    change = prepared(resources, data_dir)
    if not change.steps:
        return
    print_steps(change.steps)
    if change.loses:
        named = " ".join(f"-f {each}" for each in files)
        where = "" if data_dir == DEFAULT_DATA_DIR else f" --data-dir {data_dir}"
        notice(
            f"not applied: {' and '.join(change.loses)} would no longer be found. To apply it "
            f"anyway: lookalike apply {named}{where}"
        )
        return
    _say(change.carry_out())


@dataclass(frozen=True, slots=True)
class Change:
    """What files change of a running server."""

    run: RunDirectory
    based_on: str
    """Digest of the configuration that it was planned against."""
    rendered: Rendered
    steps: list[Step]

    @property
    def loses(self) -> list[str]:
        return [each for step in self.steps for each in step.loses]

    def confirm(self, *, yes: bool) -> None:
        """Raises Failure if something would be lost, and that is not meant."""
        from lookalike_cli.asking import confirm

        if self.loses:
            confirm(f"{' and '.join(self.loses)} will no longer be found. Continue?", yes=yes)

    def carry_out(self) -> dict[str, Any]:
        """With all that is lost by it. Raises Failure if the server refuses: then nothing has
        changed."""
        from lookalike_cli.control import ask
        from lookalike_cli.printing import notices

        self.rendered.write_secrets(self.run)
        with notices().status("the server applies the change"):
            return ask(
                self.run,
                {
                    "ask": "apply",
                    "based_on": self.based_on,
                    "config": self.rendered.serving.model_dump(mode="json", by_alias=True),
                    "ingestions": [
                        each.model_dump(mode="json", by_alias=True)
                        for each in self.rendered.ingestions
                    ],
                    "leave_behind": bool(self.loses),
                },
            )


def prepared(resources: Loaded, data_dir: Path) -> Change:
    """The plan for the running server of a data directory. Raises Failure."""
    from lookalike_cli.apply_plan import Configuration, refused, steps
    from lookalike_cli.control import ask
    from lookalike_cli.rendering import render
    from lookalike_serving.machine.rundir import RunDirectory, digest_of

    run = RunDirectory.of(data_dir)
    _check_running(run, data_dir)
    based_on = digest_of(run.serving_config)
    before = _in_force(run)
    http, access = before.serving.http, before.serving.access
    rendered = render(resources, run, http, access.api_keys_file)
    after = Configuration(
        rendered.serving, {each.collection.name: each for each in rendered.ingestions}
    )
    if wrong := refused(before.serving, after.serving):
        raise Failure("\n".join(wrong))
    new = {each.name: each for each in after.serving.collections}
    sources = {
        each.name: list(new[each.name].sources or ()) if each.name in new else []
        for each in before.serving.collections
    }
    documents = ask(run, {"ask": "weigh", "sources": sources})["documents"]
    found = steps(before, after, {name: tuple(counts) for name, counts in documents.items()})
    return Change(run, based_on, rendered, found)


def state_of(run: RunDirectory) -> State:
    """The state of a running server. Raises Failure if it has ended."""
    state = run.read_state()
    if state is None or not run.is_locked():
        raise Failure(f"the server of {run.data_dir} has stopped", ExitCode.UNREACHABLE)
    return state


def _check_running(run: RunDirectory, data_dir: Path) -> None:
    from lookalike_serving.machine.rundir import Phase

    state = run.read_state()
    if state is None or not run.is_locked() or state.phase is not Phase.READY:
        still = " yet" if state is not None and state.phase is Phase.STARTING else ""
        raise Failure(
            f"no server is ready in {data_dir}{still}: `lookalike up -f FILE --data-dir "
            f"{data_dir}` starts one",
            ExitCode.UNREACHABLE,
        )


def _in_force(run: RunDirectory) -> Configuration:
    from pydantic import ValidationError

    from lookalike_cli.apply_plan import Configuration
    from lookalike_crds.config import IngestionConfig

    try:
        serving = run.read_serving_config()
        ingestions = {
            name: IngestionConfig.model_validate_json(path.read_bytes())
            for name, path in run.ingestion_configs().items()
        }
    except ValidationError:
        raise Failure(
            f"the server of {run.data_dir} has another version: run `lookalike down`, then `up`"
        ) from None
    return Configuration(serving, ingestions)


def print_steps(steps: Sequence[Step]) -> None:
    from rich.markup import escape

    from lookalike_cli.printing import console

    say = console().print
    if not steps:
        say("nothing changes")
    colours = {"+": "green", "~": "yellow", "-": "red"}
    for each in steps:
        sign = f"[{colours[each.sign]}]{each.sign}[/{colours[each.sign]}]"
        say(f"{sign} [bold]{escape(each.resource)}[/bold]", soft_wrap=True)
        for line in each.lines:
            say(f"    {escape(line)}", soft_wrap=True)


def _say(answer: dict[str, Any]) -> None:
    from lookalike_cli.printing import console

    say = console().print
    say("[green]taken over[/green]")
    filling = answer["filling"]
    if filling:
        say(
            f"embedded again: {', '.join(filling)}; the former model answers until that is complete"
        )
    reading = [name for name in answer["ingesting"] if name not in filling]
    if reading:
        say(f"sources are being read: {', '.join(reading)}")
    if answer["ingesting"]:
        say("`lookalike status` shows the progress")
