"""MkDocs hook: the pages of the reference that are generated from the code.

Fields from `block.form`, commands from the Typer app, the settings and faults of the embedded ECS
from `local`. The pages of errors are the matter of `error_pages`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from prefect_ecs_pinned import PinnedECSTask, cli
from prefect_ecs_pinned.block.fields import Shown
from prefect_ecs_pinned.block.form import EMBLEM_VARIABLE
from prefect_ecs_pinned.block.form_texts import SECTIONS
from prefect_ecs_pinned.local import faults, introspection, matching, settings


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, write in PAGES.items():
        files.append(File.generated(config, path, content="\n".join(write()) + "\n"))
    return files


def fields() -> Iterator[str]:
    """The page of the block's fields, in the order and the words of the form."""
    yield "# Fields of the block\n"
    yield (
        "In the order of the form in Prefect's UI. Python names and JSON types are given in "
        "brackets; every field may be left out. Deployments change fields for their own runs with "
        "`infra_overrides`.\n"
    )
    yield "![The form in Prefect's UI](../images/form.png)\n"
    yield (
        "`auto_deregister_task_definition` of `ECSTask` is not shown: it cannot be switched on. "
        "All runs share one revision, and deregistering it crashes those that have not started.\n"
    )
    yield '??? note "If the emblem does not show"\n'
    yield (
        f"    It is an image on Prefect's own host. Set `{EMBLEM_VARIABLE}` to an http(s) URL "
        "that your browsers reach, wherever blocks are registered or saved from Python. "
        "Prefect takes no host without a dot, such as `localhost`. An empty value shows no emblem. "
        "[This one](../images/emblem.svg) may be copied.\n"
    )
    properties = PinnedECSTask.schema()["properties"]
    for section in SECTIONS:
        yield f"## {section.title}\n\n{section.description}\n"
        for name, field in section.fields.items():
            yield from _field(name, field, properties[name])


def _field(name: str, shown: Shown, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {shown.title} {{ #{name} }}\n"
    kind = " or ".join(f"`{value}`" for value in schema.get("enum", ())) or schema.get("type")
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "more than"),
            ("maximum", "at most"),
            ("maxLength", "length at most"),
        )
        if key in schema
    ]
    yield f"`{name}` ({', '.join([str(kind), *bounds])})\n"
    yield shown.description + "\n"
    if shown.example != "":
        yield f"Example: `{shown.example}`\n"


def commands() -> Iterator[str]:
    """The page of the command line, from the contents of ``--help``."""
    yield "# Commands\n"
    app = typer.main.get_command(cli.app)
    yield f"{app.help} Data goes to stdout, messages to stderr; `NO_COLOR` is respected.\n"
    yield f"{app.epilog}\n"
    assert isinstance(app, click.Group)
    for name, command in app.commands.items():
        yield f"## pinned-ecs {name}\n"
        yield inspect.cleandoc(command.help or "") + "\n"
        yield "| argument or option | meaning |\n|---|---|"
        for parameter in command.params:
            if not isinstance(parameter, click.Option) or not parameter.is_eager:
                yield f"| {_spelling(parameter)} | {_meaning(parameter)} |"
        yield ""


def _spelling(parameter: click.Parameter) -> str:
    if not isinstance(parameter, click.Option):
        return f"`{(parameter.metavar or parameter.name or '').upper()}`"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.is_flag:
        return names
    if isinstance(parameter.type, click.Choice):
        return names + " " + ", ".join(f"`{_plain(choice)}`" for choice in parameter.type.choices)
    return f"{names} `{parameter.metavar or parameter.type.name.upper()}`"


def _meaning(parameter: click.Parameter) -> str:
    text = getattr(parameter, "help", None) or ""
    default = parameter.default
    if parameter.required:
        text += " Required." if isinstance(parameter, click.Option) else ""
    elif default not in (None, False, True, ()) and not callable(default):
        text += f" Default: `{_plain(default)}`."
    return text.replace("|", "\\|").strip()


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))


def _docstring(text: str) -> Iterator[str]:
    """A docstring whose sections become lists."""
    for line in text.replace("``", "`").splitlines():
        if re.fullmatch(r"(Args|Attributes):", line):
            yield f"\n**{line}**\n"
        elif member := re.match(r" {4}(\w+): (.*)", line):
            yield f"- `{member[1]}`: {member[2]}"
        else:
            yield line
    yield ""


def embedded() -> Iterator[str]:
    """The page of the embedded ECS's settings and faults."""
    yield "# The embedded ECS\n"
    yield (
        "`pinned-ecs local` and `prefect_ecs_pinned.local.LocalECS` serve it. See also "
        "[Testing your own flows](../guides/testing.md).\n"
    )
    yield "## Settings\n"
    lines = re.sub(r"\n {8,}(?=\S)", " ", inspect.cleandoc(settings.Settings.__doc__ or ""))
    lines = lines.replace("``", "`")
    described = dict(re.findall(r"^ {4}(\w+): (.+)$", lines, re.M))
    yield "| setting | default | meaning |\n|---|---|---|"
    fresh = settings.Settings()
    defaults = {
        "latencies": ", ".join(f"`{k}` {v} s" for k, v in fresh.latencies.items()),
        "phases": ", ".join(f"{k} {v} s" for k, v in dataclasses.asdict(fresh.phases).items()),
        "max_processes": "2 for each core",
    }
    for field in dataclasses.fields(settings.Settings):
        shown = defaults.get(field.name, f"`{getattr(fresh, field.name)}`")
        yield f"| `{field.name}` | {shown} | {described.get(field.name, '')} |"
    yield "\n## Faults\n"
    text = inspect.cleandoc(faults.__doc__ or "").replace("``", "`")
    intro, _, kinds = text.partition("Kinds:\n")
    yield intro.replace("\n", " ") + "The kinds are:\n"
    yield kinds + "\n"
    yield "### Fields of a rule\n"
    yield from _docstring(inspect.cleandoc(faults.Fault.__doc__ or ""))
    yield "### Paths and conditions\n"
    paths = inspect.cleandoc(matching.__doc__ or "").partition("\n\n")[2]
    yield paths.replace("``", "`").replace("::\n", ":\n")
    conditions = inspect.cleandoc(matching.holds.__doc__ or "").replace("``", "`")
    given = re.search(r"condition: (.+?)\n {4}found:", conditions, re.S)
    assert given is not None
    yield "\nA condition is " + re.sub(r"\s+", " ", given[1][0].lower() + given[1][1:])
    yield "\n## `/_local/`\n"
    yield inspect.cleandoc(introspection.__doc__ or "").partition("\n\n")[2].replace("``", "`")


PAGES: Mapping[str, Callable[[], Iterator[str]]] = {
    "reference/fields.md": fields,
    "reference/commands.md": commands,
    "reference/local.md": embedded,
}
