"""``keyturn context``: list contexts, choose one, and show where each setting comes from."""

import json
import os
import re
from typing import Annotated, Any, Final

import typer

from keyturn.cli import SETTINGS_FILE
from keyturn.cli.failures import EXIT_CODES
from keyturn.cli.options import JsonOption
from keyturn.cli.output import note, write_json, write_table, write_text
from keyturn.cli.setup.contexts import (
    ADDED,
    CONTEXT,
    SETTINGS,
    Contexts,
    chosen,
    complete_context,
    read_config,
    read_contexts,
    reason_against,
)

commands = typer.Typer(help="Contexts: names for a hub, catalogue and Prefect server.", no_args_is_help=True)

PLAIN: Final = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
"""A name that YAML needs no quotes for."""

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The context.", autocompletion=complete_context)]
OptionalName = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="The context; the one in use by default.", autocompletion=complete_context),
]


@commands.command("list", epilog=EXIT_CODES)
def list_contexts(as_json: JsonOption = False) -> None:
    """List the contexts of the file, and which is in use."""
    contexts = read_contexts()
    current = chosen(contexts, None)
    listed = [
        {
            "name": name,
            "in_use": name == current,
            "hub": settings.get("hub.address"),
            "catalogue": settings.get("catalogue"),
        }
        for name, settings in contexts.named.items()
    ]
    if as_json:
        return write_json({"file": str(contexts.file), "contexts": listed})
    if not listed:
        return note(f"there are no contexts: {contexts.file} would hold them")
    rows = [
        ("*" if each["in_use"] else "", each["name"], each["hub"] or "", each["catalogue"] or "") for each in listed
    ]
    return write_table(("", "context", "hub", "catalogue"), rows)


@commands.command("use", epilog=EXIT_CODES)
def use_context(name: NameArgument) -> None:
    """Use a context from now on, in every shell where KEYTURN_CONTEXT is not set."""
    from keyturn.pages.files import write_private

    contexts = read_contexts()
    contexts.settings(name)
    text = read_config(contexts.file)
    start, end = contexts.place or (0, 0)
    scalar = name if PLAIN.fullmatch(name) else json.dumps(name)
    line = scalar if contexts.place else f"current: {scalar}\n"
    write_private(contexts.file.resolve(), text[:start] + line + text[end:])
    if (other := os.environ.get(CONTEXT)) is not None and other != name:
        note(f"{CONTEXT} is set here, and goes before it: {other or 'no context'}")
    write_text(f"using the context {name}")


@commands.command("show", epilog=EXIT_CODES)
def show_context(name: OptionalName = None, as_json: JsonOption = False) -> None:
    """Show each setting that is in force, and where it comes from: an environment variable, or the context."""
    contexts = read_contexts()
    selected = chosen(contexts, name)
    rows = list(origins(contexts, selected))
    if as_json:
        return write_json({"file": str(contexts.file), "context": selected or None, "settings": rows})
    write_text(f"context: {selected or 'none'}, of {contexts.file}")
    if rows:
        table = [(row["setting"], row["value"], row["from"], row["ignored"] or "") for row in rows]
        return write_table(("setting", "value", "from", "what the context says does not count, since"), table)
    return None


def origins(contexts: Contexts, selected: str) -> "list[dict[str, Any]]":
    declared = contexts.settings(selected) if selected else {}
    env = {variable: value for variable, value in os.environ.items() if variable not in ADDED}
    rows = []
    for setting, variable in SETTINGS.items():
        against = reason_against(setting, declared, env) if setting in declared else ""
        if env.get(variable):
            origin = f"{variable}, or the file of {SETTINGS_FILE}" if env.get(SETTINGS_FILE) else variable
            value = env[variable]
        elif setting in declared:
            origin, value = ("", "") if against else (f"context {selected}", declared[setting])
        else:
            continue
        rows.append({"setting": setting, "value": value, "from": origin, "ignored": against or None})
    return rows
