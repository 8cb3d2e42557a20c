// A client of the Model Context Protocol by the protocol's own SDK. It does what it is told, a JSON object a line, and says
// what came of it: `{"id", "result" | "error" | "progress"}`.
//
//     mcp_client.mjs stdio COMMAND        starts COMMAND with the argument `mcp`
//     mcp_client.mjs http URL             with POSTERN_TOKEN

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The modules are not beside this file but in a cache.
const require = createRequire(`${process.env.POSTERN_TEST_NODE_MODULES}/package.json`);
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");

const [kind, target] = process.argv.slice(2);
const transport =
  kind === "stdio"
    ? new StdioClientTransport({ command: target, args: ["mcp"], env: process.env, stderr: "inherit" })
    : new StreamableHTTPClientTransport(new URL(target), {
        requestInit: { headers: { Authorization: `Bearer ${process.env.POSTERN_TOKEN}` } },
      });
const client = new Client({ name: "postern-checks", version: "1" });
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const calls = new Map();

async function run({ id, call, arguments: given, list, cancel }) {
  if (list) return client.listTools();
  if (cancel !== undefined) return calls.get(cancel).abort("not wanted any more") ?? {};
  const controller = new AbortController();
  calls.set(id, controller);
  const onprogress = ({ message }) => say({ id, progress: message });
  const options = { signal: controller.signal, onprogress, timeout: 120_000 };
  return client.callTool({ name: call, arguments: given }, undefined, options);
}

try {
  await client.connect(transport);
  const version = transport.protocolVersion ?? null;
  say({ id: 0, result: { server: client.getServerVersion(), instructions: client.getInstructions(), version } });
} catch (error) {
  say({ id: 0, error: { code: error.code ?? null, message: String(error.message) } });
  process.exit(1);
}
for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  run(told).then(
    (result) => say({ id: told.id, result }),
    (error) => say({ id: told.id, error: { code: error.code ?? null, message: String(error.message ?? error) } }),
  );
}
await (transport.terminateSession?.() ?? undefined);
await client.close();
process.exit(0);
