import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { agents, groups, tokens, users, whoami } from "../../api/queries";
import type { Whoami } from "../../api/types";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { SureButton } from "../../ui/SureButton";
import { Table } from "../../ui/Table";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { toast } from "../../ui/toasts";
import { Who } from "../../ui/Who";
import { NewToken } from "./NewToken";
import { WebSessions } from "./WebSessions";

export function PeoplePage(): ReactNode {
  const me = useQuery(whoami).data;
  if (!me) return null;
  return (
    <Page
      title="People and agents"
      aside={
        <Link to="/people/$principal" params={{ principal: `${me.kind}:${me.name}` }}>
          What I can reach
        </Link>
      }
    >
      {me.roles.includes("admin") && <Principals />}
      <WebSessions />
      <Tokens me={me} />
    </Page>
  );
}

interface Row {
  kind: "user" | "agent";
  id: string;
  name: string;
  groups: string[];
  remarks: string[];
  disabled: boolean;
  stopped: boolean;
  lastUsed: string | null;
}

/** Those of a large group are too many to read. */
function several(members: string[]): string {
  const more = members.length - 30;
  return more > 0 ? `${members.slice(0, 30).join(", ")} and ${more.toLocaleString()} more` : members.join(", ");
}

/** The most that are drawn at once. */
const SHOWN = 200;

function Principals(): ReactNode {
  const [wanted, setWanted] = useState("");
  const people = useQuery(users);
  const bots = useQuery(agents);
  const all = useQuery(groups);
  const error = people.error ?? bots.error ?? all.error;
  if (error) return <ProblemNotice error={error} />;
  if (!people.data || !bots.data || !all.data) return <Loading what="people and agents" />;
  const rows: Row[] = [
    ...people.data.map((user): Row => {
      const remarks = [user.admin ? "admin" : "", user.auditor ? "auditor" : ""].filter(Boolean);
      return row("user", user, remarks);
    }),
    ...bots.data.map((agent): Row => row("agent", agent, [agent.owner ? `owned by ${agent.owner}` : "without an owner"])),
  ];
  const part = wanted.trim().toLowerCase();
  const fitting = rows.filter(({ name, groups }) => [name, ...groups].some((text) => text.toLowerCase().includes(part)));
  return (
    <>
      {rows.length > SHOWN / 10 && (
        <input type="search" aria-label="Part of a name or group" placeholder="Part of a name or group" value={wanted} onChange={(event) => setWanted(event.target.value)} />
      )}
      {fitting.length === 0 && <p className="muted">Nobody&apos;s name or group has that in it.</p>}
      {fitting.length > SHOWN && (
        <p className="muted" role="status">
          The first {SHOWN} of {fitting.length.toLocaleString()}: write part of a name to find others.
        </p>
      )}
      {fitting.length > 0 && <Table
        label="People and agents"
        columns={["Who", "Groups", "Last here", ""]}
        rows={fitting.slice(0, SHOWN).map((row) => [
          row.id,
          <Link key="who" to="/people/$principal" params={{ principal: `${row.kind}:${row.name}` }}>
            <Who who={row} />
          </Link>,
          row.groups.length > 0 && <Text key="groups">{row.groups.join(", ")}</Text>,
          row.lastUsed ? <Time key="used" at={row.lastUsed} /> : <span key="used" className="muted">never</span>,
          <span key="remarks" className="badges">
            {row.remarks.map((remark) => (
              <span key={remark} className="badge">
                {remark}
              </span>
            ))}
            {row.disabled && <span className="badge danger">disabled</span>}
            {row.stopped && <span className="badge danger">stopped</span>}
          </span>,
        ])}
      />}
      <section className="group full">
        <h2>Groups</h2>
        <Table
          label="Groups"
          columns={["Group", "Members"]}
          rows={all.data.map((group) => [group.name, <Text key="name">{group.name}</Text>, <Text key="members">{several(group.members)}</Text>])}
        />
        <p className="muted">
          People, agents and groups are described in files, and applied with <code>postern apply</code>.
        </p>
      </section>
    </>
  );
}

function row(kind: Row["kind"], who: Schemas["User"] | Schemas["Agent"], remarks: string[]): Row {
  const { id, name, groups, disabled, stopped, last_used_at: lastUsed } = who;
  return { kind, id, name, groups, remarks, disabled, stopped: Boolean(stopped), lastUsed: lastUsed ?? null };
}

function Tokens({ me }: { me: Whoami }): ReactNode {
  const client = useQueryClient();
  const found = useQuery(tokens);
  const [making, setMaking] = useState(false);
  const remove = useMutation({
    mutationFn: (id: string) => ask(api.DELETE("/api/v1/tokens/{id}", { params: { path: { id } } })),
    onSuccess: async () => {
      toast({ tone: "good", title: "Deleted: it is refused from now on." });
      await client.invalidateQueries({ queryKey: ["tokens"] });
    },
  });
  if (found.isPending) return <Loading what="tokens" />;
  if (!found.data) return <ProblemNotice error={found.error} />;
  return (
    <section className="group full">
      <header className="with-buttons">
        <h2>Tokens</h2>
        {me.kind === "user" && (
          <button type="button" onClick={() => setMaking(true)}>
            New token…
          </button>
        )}
      </header>
      {remove.error && <ProblemNotice error={remove.error} />}
      {found.data.length === 0 ? (
        <Empty title="There is no token">
          <p>Programs and this console know you by a token.</p>
        </Empty>
      ) : (
        <Table
          label="Tokens"
          columns={["Whose", "For", "Last used", "Ends", ""]}
          rows={found.data.map((token) => [
            token.id,
            <Who key="who" who={token.principal} />,
            <Text key="name">{token.name}</Text>,
            token.last_used_at ? <Time key="used" at={token.last_used_at} /> : "never",
            token.expires_at ? <Time key="ends" at={token.expires_at} /> : "not by itself",
            token.id === me.token.id ? (
              <span key="this" className="badge">
                you are signed in with it
              </span>
            ) : (
              <SureButton key="delete" busy={remove.isPending} onSure={() => remove.mutate(token.id)}>
                Delete<span className="hidden"> {token.name}</span>
              </SureButton>
            ),
          ])}
        />
      )}
      {making && <NewToken me={me} onClose={() => setMaking(false)} />}
    </section>
  );
}
