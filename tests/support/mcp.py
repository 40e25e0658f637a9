"""A client of `keyturn mcp`, with the protocol's official SDK, and the server in a process of its own."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.cli.command import ROOT, SCRIPT

T = TypeVar("T")


def with_server(use: Callable[[Client], Awaitable[T]], said: Path, *options: str, **env: str) -> T:
    """What ``use`` returns of a server with these options; ``said`` is the file for its stderr."""
    command, *words = SCRIPT
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    server = StdioServerParameters(command=command, args=[*words, "mcp", *options], env=environment)

    async def run() -> T:
        with said.open("w") as stream:
            async with Client(stdio_client(server, errlog=stream)) as client:
                return await use(client)

    return asyncio.run(asyncio.wait_for(run(), 120))


def call(said: Path, tool: str, arguments: Mapping[str, Any], *options: str, **env: str) -> Any:
    """The result of one call."""
    return with_server(lambda client: client.call_tool(tool, dict(arguments)), said, *options, **env)


def text_of(result: Any) -> str:
    """All of a result as text."""
    return str(result.model_dump_json())
