import { useQuery } from "@tanstack/react-query";
import { useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { connections, grants, myRequests, whoami } from "../../api/queries";
import type { Connection, ConnectionRole, Whoami } from "../../api/types";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { AskForm } from "./AskForm";
import { GrantCard } from "./GrantCard";
import { Pending } from "./Pending";

export function AskPage(): ReactNode {
  const me = useQuery(whoami).data;
  return me ? (
    <Page title="Ask for access">
      <div className="ask">
        <Askable me={me} />
        <Mine />
      </div>
    </Page>
  ) : null;
}

/** What I have, and what I wait for. */
function Mine(): ReactNode {
  const open = useQuery(grants);
  const asked = useQuery(myRequests);
  const error = open.error ?? asked.error;
  if (error && !open.data) return <ProblemNotice error={error} />;
  const pending = (asked.data ?? []).filter((request) => request.status === "pending");
  return (
    <div className="group">
      <section className="group">
        <h2>Open now</h2>
        {open.data?.length === 0 && <p className="muted">Nothing. What is approved opens here, with the commands to connect.</p>}
        {open.data?.map((grant) => (
          <GrantCard key={grant.id} grant={grant} />
        ))}
      </section>
      {pending.length > 0 && (
        <section className="group">
          <h2>Waiting for an answer</h2>
          {pending.map((request) => (
            <Pending key={request.id} request={request} />
          ))}
        </section>
      )}
    </div>
  );
}

/** What I may ask for, and the form for what was chosen. */
function Askable({ me }: { me: Whoami }): ReactNode {
  const found = useQuery(connections);
  const { connection, role } = useSearch({ from: "/ask" });
  if (found.isPending) return <Loading what="connections" />;
  if (!found.data) return <ProblemNotice error={found.error} />;
  const choices = found.data.flatMap((one) =>
    // Those that only read come first: most needs are met by them.
    one.roles
      .filter((its) => its.approval !== "not-allowed")
      .sort((a, b) => Number(b.read_only) - Number(a.read_only))
      .map((its): [Connection, ConnectionRole] => [one, its]),
  );
  if (choices.length === 0) {
    return (
      <Empty title="There is nothing that you can ask for">
        <p>
          An admin lets a group ask for an access role by <code>groups</code> in the connection&apos;s document. You are in{" "}
          {me.groups.length > 0 ? me.groups.join(", ") : "no group"}.
        </p>
      </Empty>
    );
  }
  const chosen = choices.find(([one, its]) => one.name === connection && its.name === role) ?? choices[0];
  return (
    <section className="group">
      <h2>New request</h2>
      {chosen && <AskForm key={`${chosen[0].name}/${chosen[1].name}`} me={me} choices={choices} connection={chosen[0]} role={chosen[1]} />}
    </section>
  );
}
