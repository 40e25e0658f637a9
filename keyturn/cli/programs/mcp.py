"""``keyturn mcp``: offers AI agents the commands that change nothing, over the Model Context Protocol on stdio."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keyturn import __version__
from keyturn.cli.environment import insist_on_hub
from keyturn.cli.options import CatalogueOption
from keyturn.cli.programs.mcp_tools import NOTICE, RESULT, TOOLS, Arguments, Tool, cleaned, limited, refuse_path
from keyturn.cli.programs.programs import wrong
from keyturn.core.errors import Invalid
from keyturn.core.workspaces import CATALOGUE_VARIABLE

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp_types import CallToolResult

TIMEOUT: Final = 120.0
"""Seconds that a command may take."""
MOST: Final = 4 << 20
"""Bytes of a command's output."""
AT_ONCE: Final = 4
"""Commands at the same time."""

ToolsOption = Annotated[
    str | None, typer.Option("--tools", metavar="NAMES", help=f"Offer only these, of {', '.join(TOOLS)}.")
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PATTERN", help="Show only matching secrets, such as 'ml-*/**'; may be repeated."),
]


def mcp(tools: ToolsOption = None, only: OnlyOption = None, catalogue: CatalogueOption = None) -> None:
    """Offer status, plans and requests to an AI agent, as an MCP server on stdin and stdout.

    No tool returns a value, or ends or rotates anything. What a tool may see is what this login may see in the hub:
    give it an auditor's. Runs until stdin ends.
    """
    names = tools.split(",") if tools else list(TOOLS)
    if unknown := [name for name in names if name not in TOOLS]:
        raise wrong("--tools", f"there is no tool {unknown[0]!r}: choose of {', '.join(TOOLS)}")
    try:
        from mcp.server.stdio import stdio_server
    except ModuleNotFoundError as error:
        problem = f"the package {error.name} is missing"
        raise Invalid("start", "the MCP server", problem, "Install keyturn[mcp]") from None
    insist_on_hub()
    if catalogue:
        os.environ[CATALOGUE_VARIABLE] = str(catalogue.absolute())
    server = server_of([TOOLS[name] for name in names], only or [])

    async def serve() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())


def server_of(tools: Sequence[Tool], only: Sequence[str]) -> "Server[Any]":
    """The server of these tools."""
    import mcp_types as types
    from jsonschema import Draft202012Validator
    from mcp.server import Server

    offered = {tool.name: tool for tool in tools}
    running = asyncio.Semaphore(AT_ONCE)

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[as_declared(tool) for tool in tools])

    async def call_tool(_: Any, called: types.CallToolRequestParams) -> types.CallToolResult:
        tool, arguments = offered.get(called.name), called.arguments or {}
        if tool is None:
            return error_result(f"there is no tool {called.name!r} here")
        if flaw := next(Draft202012Validator(tool.schema).iter_errors(arguments), None):
            # The message of the library quotes what was given, which may be a value.
            place = "/".join(map(str, flaw.path)) or "the arguments"
            return error_result(f"{place}: not as in the tool's schema ({flaw.validator})")
        if why := refuse_path(arguments, only):
            return error_result(why)
        async with running:
            return await run_tool(tool, arguments, only)

    instructions = f"Keyturn's secrets by names, states and times; no tool returns a value. {NOTICE}"
    return Server(
        "keyturn", version=__version__, instructions=instructions, on_list_tools=list_tools, on_call_tool=call_tool
    )


def as_declared(tool: Tool) -> Any:
    """The tool as the protocol declares it."""
    from mcp_types import Tool as Declared
    from mcp_types import ToolAnnotations

    hints = ToolAnnotations(read_only_hint=not tool.changes, destructive_hint=False, open_world_hint=False)
    return Declared(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema,
        output_schema=RESULT,
        annotations=hints,
    )


async def run_tool(tool: Tool, arguments: Arguments, only: Sequence[str]) -> "CallToolResult":
    """Run the tool's command in a process of its own, and return what it prints."""
    from mcp_types import CallToolResult, TextContent

    command = [sys.executable, "-m", "keyturn.cli", "--quiet", *tool.words(arguments)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, limit=MOST
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT)
    except TimeoutError:
        return error_result(f"{tool.name}: no answer within {TIMEOUT:.0f} s; the hub or a store may be slow: try again")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        data = json.loads(output) if len(output) <= MOST else None
    except ValueError:
        data = None
    if not isinstance(data, dict):
        return error_result(
            errors.decode(errors="replace").strip() or f"{tool.name} printed nothing that can be returned"
        )
    result = {"notice": NOTICE, "exit_code": process.returncode, "data": cleaned(limited(tool, data, only))}
    return CallToolResult(content=[TextContent(text=json.dumps(result))], structured_content=result)


def error_result(text: str) -> "CallToolResult":
    """A failed call, with the error and its remedy."""
    from mcp_types import CallToolResult, TextContent

    return CallToolResult(content=[TextContent(text=cleaned(text))], is_error=True)
