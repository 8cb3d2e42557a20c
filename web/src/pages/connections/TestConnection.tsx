import { useMutation } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { api, ask, problemOf, type Problem } from "../../api/client";
import type { Connection, Whoami } from "../../api/types";
import { sentence } from "../../ui/Notice";
import { Text } from "../../ui/Text";

interface Tried {
  role: string;
  milliseconds: number;
  problem: Problem | null;
}

/** Has the connector look at the database as each access role does. Nothing is run. */
export function TestConnection({ me, connection }: { me: Whoami; connection: Connection }): ReactNode {
  const tries = useMutation({
    mutationFn: async () => {
      const tried: Tried[] = [];
      // One after the other: each opens the database.
      for (const { name } of connection.roles) tried.push(await reach(me, connection.name, name));
      return tried;
    },
  });
  return (
    <>
      <button type="button" onClick={() => tries.mutate()} disabled={tries.isPending}>
        {tries.isPending ? "Testing…" : "Test"}
        <span className="hidden"> {connection.name}</span>
      </button>
      {tries.data && (
        <div className="tries" role="status">
          {tries.data.map(({ role, milliseconds, problem }) => (
            <p key={role}>
              <span className={problem ? "badge danger" : "badge good"}>{role}</span>{" "}
              {problem ? (
                <Text>{[problem.message, problem.detail, problem.hint].filter((text) => text !== null).map(sentence).join(" ")}</Text>
              ) : (
                `reaches the database: it has answered within ${milliseconds.toLocaleString()} ms`
              )}
            </p>
          ))}
        </div>
      )}
    </>
  );
}

async function reach(me: Whoami, connection: string, role: string): Promise<Tried> {
  const began = performance.now();
  const principal = { kind: me.kind, name: me.name };
  const problem = await ask(api.POST("/api/v1/policies/test", { body: { principal, connection, role, sql: "SELECT 1", policies: [] } })).then(
    () => null,
    problemOf,
  );
  return { role, milliseconds: Math.round(performance.now() - began), problem };
}
