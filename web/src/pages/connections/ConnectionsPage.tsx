import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { connections, parts, whoami } from "../../api/queries";
import type { Connection, Whoami } from "../../api/types";
import { spelled } from "../../ui/duration";
import { Empty, Loading, ProblemNotice, sentence } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { Table } from "../../ui/Table";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { toast } from "../../ui/toasts";
import { Enrol } from "./Enrol";
import { TestConnection } from "./TestConnection";

export function ConnectionsPage(): ReactNode {
  const me = useQuery(whoami).data;
  const found = useQuery(connections);
  if (!me) return null;
  return (
    <Page title="Connections">
      {found.isPending && <Loading what="connections" />}
      {found.error && <ProblemNotice error={found.error} />}
      {found.data?.length === 0 && (
        <Empty title="There is no connection yet">
          <p>
            A connection is a database, the connector that reaches it, and the access roles that can be asked for. It is described in a file, and
            applied with <code>postern apply</code>.
          </p>
        </Empty>
      )}
      <ul className="cards">
        {found.data?.map((connection) => (
          <li key={connection.name}>
            <Card me={me} connection={connection} />
          </li>
        ))}
      </ul>
      <Parts />
    </Page>
  );
}

const STATES: Record<Connection["status"], [string, string]> = {
  up: ["good", "up"],
  "database-down": ["danger", "database down"],
  "no-connector": ["danger", "no connector"],
};

function Card({ me, connection }: { me: Whoami; connection: Connection }): ReactNode {
  const client = useQueryClient();
  const frozen = Boolean(connection.freeze);
  const change = useMutation({
    mutationFn: () => {
      const init = { params: { path: { name: connection.name } }, body: {} };
      return ask(frozen ? api.POST("/api/v1/connections/{name}/unfreeze", init) : api.POST("/api/v1/connections/{name}/freeze", init));
    },
    onSuccess: async () => {
      toast({ tone: "good", title: frozen ? "Changes are possible again." : "Frozen: nobody changes anything there." });
      await client.invalidateQueries({ queryKey: ["connections"] });
    },
  });
  const [tone, word] = STATES[connection.status];
  return (
    <article className="card grant">
      <header>
        <h2>{connection.name}</h2>
        <span className="badges">
          <span className={`badge ${tone}`}>{word}</span>
          {frozen && <span className="badge warn">frozen</span>}
        </span>
      </header>
      {connection.problem && (
        <p className="notice bad">
          <Text>{sentence(connection.problem)}</Text>
        </p>
      )}
      {connection.freeze && (
        <p className="notice warn">
          Frozen {connection.freeze.by && `by ${connection.freeze.by.name} `}
          <Time at={connection.freeze.at} />: reading goes on, nothing is changed.
        </p>
      )}
      <p className="muted">
        Served by the connector <strong>{connection.connector}</strong>
      </p>
      <Table
        label={`Access roles of ${connection.name}`}
        columns={["Access role", "Login", "Longest", "Reviewers"]}
        rows={connection.roles.map((role) => [
          role.name,
          <span key="name">
            {role.approval === "not-allowed" ? (
              role.name
            ) : (
              <Link to="/ask" search={{ connection: connection.name, role: role.name }}>
                {role.name}
              </Link>
            )}{" "}
            {role.read_only && <span className="badge good">only reads</span>}
          </span>,
          role.mode,
          spelled(role.max_duration),
          role.approval === "auto" ? "by rule" : role.reviewers.join(", ") || "admins",
        ])}
      />
      {change.error && <ProblemNotice error={change.error} />}
      <div className="buttons">
        <TestConnection me={me} connection={connection} />
        <Link className="button" to="/masking" search={{ connection: connection.name }}>
          Masking
        </Link>
        <Link className="button" to="/connections/$name/people" params={{ name: connection.name }}>
          Who can reach it
        </Link>
        <button type="button" className={frozen ? "" : "deny"} onClick={() => change.mutate()} disabled={change.isPending}>
          {frozen ? "Lift the freeze" : "Freeze changes"}
        </button>
      </div>
    </article>
  );
}

/** What connects databases and clients. */
function Parts(): ReactNode {
  const found = useQuery(parts);
  const [enrolling, setEnrolling] = useState<Schemas["PartKind"] | null>(null);
  if (found.isPending) return <Loading what="connectors and gateways" />;
  if (!found.data) return <ProblemNotice error={found.error} />;
  return (
    <section className="group full">
      <header className="with-buttons">
        <h2>Connectors and gateways</h2>
        <div className="buttons">
          <button type="button" onClick={() => setEnrolling("connector")}>
            Enrol a connector…
          </button>
          <button type="button" onClick={() => setEnrolling("gateway")}>
            Enrol a gateway…
          </button>
        </div>
      </header>
      <Table
        label="Connectors and gateways"
        columns={["Name", "What", "State", "Last seen", "Version", "Enrolled", "Certificate ends"]}
        rows={found.data.map((part) => [
          part.id,
          <Text key="name">{part.name}</Text>,
          part.kind,
          <State key="state" of={part} />,
          part.seen_at && <Time key="seen" at={part.seen_at} />,
          part.version && <Text key="version">{part.version}</Text>,
          <Time key="enrolled" at={part.enrolled_at} />,
          part.certificate_expires_at && <Time key="ends" at={part.certificate_expires_at} />,
        ])}
      />
      {enrolling && <Enrol kind={enrolling} onClose={() => setEnrolling(null)} />}
    </section>
  );
}

function State({ of: part }: { of: Schemas["Part"] }): ReactNode {
  if (part.revoked_at) return <span className="badge danger">revoked</span>;
  return part.attached ? <span className="badge good">attached</span> : <span className="badge warn">away</span>;
}
