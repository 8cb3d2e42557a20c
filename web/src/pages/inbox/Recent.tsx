import { useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import type { Request, Whoami } from "../../api/types";
import { spelled } from "../../ui/duration";
import { Loading, ProblemNotice } from "../../ui/Notice";
import { Sql } from "../../ui/Sql";
import { Time } from "../../ui/Time";
import { Status } from "./Status";
import { isPending, type Item } from "./items";

const SHOWN = 3;
const STATEMENTS = 10;

/** What whoever asks has asked before, and what they ran. */
export function Recent({ me, request, all }: { me: Whoami; request: Request; all: Item[] }): ReactNode {
  const before = all.flatMap((item) =>
    item.kind === "request" && item.of.requester.id === request.requester.id && item.id !== request.id && !isPending(item) ? [item.of] : [],
  );
  const approved = before.filter((earlier) => earlier.status === "approved").length;
  const denied = before.filter((earlier) => earlier.status === "denied").length;
  return (
    <section>
      <h3>Before</h3>
      {before.length === 0 ? (
        <p className="muted">Nothing that you can see: this is their first request.</p>
      ) : (
        <>
          <p>
            {before.length} earlier {before.length === 1 ? "request" : "requests"}: {approved} approved, {denied} denied.
          </p>
          <ul className="before">
            {before.slice(0, SHOWN).map((earlier) => (
              <li key={earlier.id}>
                <Time at={earlier.created_at} /> · {earlier.role} on {earlier.connection} for {spelled(earlier.duration)}
                <Status of={earlier.status} />
              </li>
            ))}
          </ul>
        </>
      )}
      {me.roles.some((role) => role === "admin" || role === "auditor") && <Statements of={request} />}
    </section>
  );
}

/** Asked for only when somebody wants to see it: a search of the audit is itself recorded. */
function Statements({ of }: { of: Request }): ReactNode {
  const [wanted, setWanted] = useState(false);
  const found = useQuery({
    queryKey: ["audit", "recent", of.requester.id],
    queryFn: () =>
      ask(api.GET("/api/v1/audit/events", { params: { query: { principal: of.requester.id, limit: STATEMENTS, type: "statement" } } })),
    enabled: wanted,
  });
  if (!wanted) {
    return (
      <button type="button" onClick={() => setWanted(true)}>
        Show their last statements
      </button>
    );
  }
  if (found.isPending) return <Loading what="statements" />;
  if (!found.data) return <ProblemNotice error={found.error} />;
  if (found.data.length === 0) return <p className="muted">They have run nothing yet.</p>;
  return (
    <ol className="statements">
      {found.data.map((event) => (
        <li key={event.id}>
          <p className="muted">
            <Time at={event.at} /> · {event.connection} · {event.role}
            {event.decision === "deny" && <Status of="denied" />}
          </p>
          <Sql text={event.sql ?? ""} bare />
        </li>
      ))}
    </ol>
  );
}
