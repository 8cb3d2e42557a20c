import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Facts } from "../../ui/Facts";
import { sentence } from "../../ui/Notice";
import { Sql } from "../../ui/Sql";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { Outcome } from "./Events";
import type { AuditEvent } from "./search";

/** Of a refused statement, the reason stands by itself. */
function readDetail(detail: unknown): Record<string, unknown> & { reason?: string } {
  if (typeof detail !== "object" || detail === null) return {};
  const { reason, ...rest } = detail as Record<string, unknown>;
  return typeof reason === "string" ? { ...rest, reason } : { ...detail };
}

export function EventDetail({ event }: { event: AuditEvent }): ReactNode {
  const { reason, ...detail } = readDetail(event.detail);
  const text = (value: string | null | undefined): ReactNode => value && <Text>{value}</Text>;
  return (
    <article>
      <header>
        <p className="over">
          <span className="badge">{event.type}</span>
          <Outcome event={event} />
          <span className="muted">
            <Time at={event.at} relative={false} />
          </span>
        </p>
        <h2>
          <Text>{event.type === "statement" ? (event.principal ?? "") : (event.action ?? "")}</Text>
        </h2>
      </header>
      {event.kind === "preview" && (
        <p className="notice">The connector has tried it, so that reviewers see what it would do, and has undone it. It was not run by this.</p>
      )}
      {event.sql && <Sql text={event.sql} />}
      {reason && (
        <p className={event.decision === "deny" ? "notice bad" : "notice"}>
          <Text>{sentence(reason)}</Text>
        </p>
      )}
      <Facts
        of={[
          ["Who", text(event.principal ?? event.actor?.name)],
          ["On behalf of", text(event.on_behalf_of)],
          ["Connection", text(event.connection)],
          ["Access role", text(event.role)],
          ["Database role", text(event.database_role)],
          ["From", text(event.client_address)],
          ["Program", text(event.application_name)],
          ["Subject", (event.type === "control" || event.type === "connector") && text(event.subject)],
          ["Took", typeof event.duration_ms === "number" && `${event.duration_ms.toLocaleString(undefined, { maximumFractionDigits: 2 })} ms`],
          ["Rows", event.rows?.toLocaleString()],
          ["Bytes", event.bytes?.toLocaleString()],
          ["SQLSTATE", event.sqlstate],
          ["Policies", event.policies && (event.policies.length > 0 ? <Text>{event.policies.join(", ")}</Text> : "none permits it")],
          ["Policies' version", event.policy_version],
          [
            "Review",
            event.review_id && (
              <Link to="/inbox" search={{ item: event.review_id }}>
                who agreed, or did not
              </Link>
            ),
          ],
          [
            "Session",
            event.session && (
              <Link to="/sessions/$id" params={{ id: event.session }} search={event.seq ? { seq: event.seq } : {}}>
                all its statements
              </Link>
            ),
          ],
          ["Event", <code key="id">{event.id}</code>],
        ]}
      />
      {event.masking && event.masking.columns.length > 0 && (
        <section>
          <h3>Masked: {event.masking.values.toLocaleString()} values</h3>
          <ul className="before">
            {event.masking.columns.map((column) => (
              <li key={column.name}>
                <strong>
                  <Text>{column.name}</Text>
                </strong>
                <span className="muted">
                  from <Text>{column.columns.join(", ")}</Text>
                </span>
                <span className="badge good">{column.mask}</span>
              </li>
            ))}
          </ul>
        </section>
      )}
      {Object.keys(detail).length > 0 && (
        <section>
          <h3>Detail</h3>
          <figure className="sql">
            {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach */}
            <pre tabIndex={0} aria-label="Detail">
              <Text>{JSON.stringify(detail, null, 2)}</Text>
            </pre>
          </figure>
        </section>
      )}
    </article>
  );
}
