import type { Credential } from "../../api/types";

/** The file in which the root certificate is expected, where the gateway's is not a public one. */
export const ROOT_FILE = "postern-root.pem";

export interface Command {
  value: string;
  label: string;
  text: string;
  /** What there is to do besides. */
  note?: string;
}

/** A word of a shell, whatever is in it. */
function quoted(text: string): string {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What is asked for, as an agent or a script asks for it: it waits for the answer, and then connects. */
export function askingCommand(connection: string, role: string, duration: string, reason: string): string {
  const what = `${quoted(connection)} --role ${quoted(role)}`;
  return [
    `export POSTERN_URL=${window.location.origin}`,
    `postern request ${what} --for ${duration} --reason ${quoted(reason || "…")} --wait`,
    `postern connect ${what}`,
  ].join("\n");
}

/** How to connect, for the usual clients. */
export function commands(credential: Credential): Command[] {
  const { user, secret, host, port, database, sslmode } = credential;
  const root = credential.root_certificate_pem ? ROOT_FILE : null;
  const at = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const query = new URLSearchParams({ sslmode, ...(root && { sslrootcert: root }) }).toString();
  const name = encodeURIComponent(database);
  const url = `postgresql://${user}:${secret}@${at}/${name}?${query}`;
  const tls = sslmode === "prefer" ? "" : root ? `, ssl: { ca: readFileSync("${root}") }` : ", ssl: true";
  return [
    { value: "psql", label: "psql", text: `psql '${url}'` },
    { value: "url", label: "DATABASE_URL", text: `export DATABASE_URL='${url}'` },
    {
      value: "psycopg",
      label: "psycopg",
      text: `import psycopg\n\nconnection = psycopg.connect("${url}")`,
    },
    {
      value: "jdbc",
      label: "JDBC",
      text: `jdbc:postgresql://${at}/${name}?user=${user}&password=${secret}&${query}`,
    },
    {
      value: "node",
      label: "node",
      text: `import pg from "pg";${root && tls ? '\nimport { readFileSync } from "node:fs";' : ""}\n\nconst client = new pg.Client({ host: "${host}", port: ${port}, user: "${user}", password: "${secret}", database: ${JSON.stringify(database)}${tls} });\nawait client.connect();`,
    },
    {
      value: "mcp",
      label: "MCP",
      text: JSON.stringify(
        { mcpServers: { postern: { command: "postern", args: ["mcp"], env: { POSTERN_URL: window.location.origin } } } },
        null,
        2,
      ),
      note: "For an AI agent's program, in the file in which it lists its servers. It has no secret of this grant in it: run postern login first, and the agent uses your grants; with a token of its own as POSTERN_TOKEN, it asks for its own.",
    },
  ];
}
