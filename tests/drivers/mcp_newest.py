"""The revision 2026-07-28 of the Model Context Protocol, by its Python SDK: there is no handshake and no session, and whoever
closes the connection has given up. POSTERN_URL and POSTERN_TOKEN are the agent's; it has a grant of the role `write`."""

import asyncio
import json
import os
import re
import sys
import urllib.request

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

REVISION = "2026-07-28"
postern, reviewer = sys.argv[1:]
url, token = os.environ["POSTERN_URL"], os.environ["POSTERN_TOKEN"]
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def status(review):
    request = urllib.request.Request(f"{url}/api/v1/reviews/{review}", headers={"Authorization": f"Bearer {reviewer}"})
    with direct.open(request) as answer:
        return json.load(answer)["status"]


async def check(server, row):
    async with Client(server, mode=REVISION) as client:
        assert client.protocol_version == REVISION, client.protocol_version
        assert "query" in [tool.name for tool in (await client.list_tools()).tools]

        async def query(sql, **options):
            return await client.call_tool("query", {"connection": "demo", "role": "write", "sql": sql}, **options)

        answer = await query("select word from secrets")
        assert answer.structured_content["results"][0]["rows"] == [["****y"]], answer
        answer = await query("truncate orders")
        assert answer.is_error and answer.structured_content["error"]["sqlstate"] == "42501", answer
        # Held, until the client gives up: then its review is withdrawn.
        told = asyncio.get_running_loop().create_future()

        async def progress(_, __, message):
            if (review := re.search(r"rev_\w+", message or "")) and not told.done():
                told.set_result(review[0])

        call = asyncio.create_task(query(f"delete from orders where id = {row}", progress_callback=progress))
        review = await asyncio.wait_for(told, 30)
        assert status(review) == "pending"
        call.cancel()
        async with asyncio.timeout(30):
            while status(review) != "withdrawn":
                await asyncio.sleep(0.1)
        answer = await query(f"select count(*) from orders where id = {row}")
        assert answer.structured_content["results"][0]["rows"] == [["1"]], answer


async def main():
    await check(StdioServerParameters(command=postern, args=["mcp"], env=dict(os.environ)), 8)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
        await check(streamable_http_client(f"{url}/mcp", http_client=http), 9)


asyncio.run(main())
