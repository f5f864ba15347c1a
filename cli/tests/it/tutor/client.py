# The official Python client: prints what it gets, as a line of JSON for each way to connect.
# Arguments: the address of /mcp, a service's token, and the command line of `coursegate mcp`.
import asyncio
import json
import sys

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


async def ask(way, server, mode):
    chapter = {"learner": "x-py-1", "course": "tutorclaw", "chapter": 6}
    async with Client(server, mode=mode) as client:
        tools = (await client.list_tools()).tools
        access = await client.call_tool("check_access", chapter)
        refused = await client.call_tool("open_chapter", chapter)
        text = await client.read_resource("coursegate://courses/tutorclaw/chapters/1")
        prompt = await client.get_prompt("tutor", {"course": "tutorclaw"})
        print(json.dumps({
            "way": f"{way}, {mode}",
            "version": client.protocol_version,
            "tools": sorted(tool.name for tool in tools),
            "access": access.structured_content["access"],
            "sentence": access.content[0].text,
            "refused": refused.is_error,
            "chapter": text.contents[0].text,
            "prompt": prompt.messages[0].content.text,
        }), flush=True)


async def main():
    url, token, program, *arguments = sys.argv[1:]
    for mode in ["auto", "legacy"]:
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}) as web:
            await ask("http", streamable_http_client(url, http_client=web), mode)
        await ask("stdio", StdioServerParameters(command=program, args=arguments), mode)


asyncio.run(main())
