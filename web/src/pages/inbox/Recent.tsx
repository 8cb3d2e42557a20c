import { useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import type { Whoami } from "../../api/types";
import { spelled } from "../../ui/duration";
import { Loading, ProblemNotice } from "../../ui/Notice";
import { Sql } from "../../ui/Sql";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { Status } from "./Status";
import { asker, isPending, type Item } from "./items";

const SHOWN = 4;
const STATEMENTS = 10;

/** What whoever asks has asked before, and what they ran. */
export function Recent({ me, item, all }: { me: Whoami; item: Item; all: Item[] }): ReactNode {
  const who = asker(item).id;
  const before = all
    .filter((other) => other.id !== item.id && asker(other).id === who && !isPending(other))
    .sort((a, b) => b.of.created_at.localeCompare(a.of.created_at));
  const approved = before.filter((earlier) => YES.includes(earlier.of.status)).length;
  const denied = before.filter((earlier) => earlier.of.status === "denied").length;
  return (
    <section>
      <h3>What they did recently</h3>
      {before.length === 0 ? (
        <p className="muted">Nothing that you can see: they ask for the first time.</p>
      ) : (
        <>
          <p>
            Asked {before.length} {before.length === 1 ? "time" : "times"} before: {approved} approved, {denied} denied.
          </p>
          <ul className="before">
            {before.slice(0, SHOWN).map((earlier) => (
              <li key={earlier.id}>
                <Time at={earlier.of.created_at} /> · <Asked item={earlier} />
                <Status of={earlier.of.status} />
              </li>
            ))}
          </ul>
        </>
      )}
      {me.roles.some((role) => role === "admin" || role === "auditor") && <Statements of={who} />}
    </section>
  );
}

/** What counts as a yes. */
const YES = ["approved", "claimed"];

function Asked({ item }: { item: Item }): ReactNode {
  const { connection, role } = item.of;
  if (item.kind === "request") return `${role} on ${connection} for ${spelled(item.of.duration)}`;
  const { tag, relations } = item.of.statement;
  return (
    <>
      {tag} <Text>{relations.slice(0, 3).join(", ")}</Text> on {connection}
    </>
  );
}

/** Asked for only when somebody wants to see it: a search of the audit is itself recorded. */
function Statements({ of }: { of: string }): ReactNode {
  const [wanted, setWanted] = useState(false);
  const found = useQuery({
    queryKey: ["audit", "recent", of],
    queryFn: () =>
      ask(api.GET("/api/v1/audit/events", { params: { query: { principal: of, limit: STATEMENTS, type: "statement" } } })),
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
