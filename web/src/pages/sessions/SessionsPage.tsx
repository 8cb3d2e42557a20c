import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { allGrants, sessions, whoami } from "../../api/queries";
import type { PrincipalRef, Whoami } from "../../api/types";
import { Budget } from "../../ui/Budget";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { SureButton } from "../../ui/SureButton";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { toast } from "../../ui/toasts";
import { Who } from "../../ui/Who";
import { Running } from "./Running";
import { StopAgent } from "./StopAgent";

export function SessionsPage(): ReactNode {
  const me = useQuery(whoami).data;
  const found = useQuery(sessions);
  const [stopping, setStopping] = useState<PrincipalRef | null>(null);
  if (!me) return null;
  return (
    <Page title="Live sessions" aside={found.data && <span className="muted">{found.data.length} open</span>}>
      {found.isPending && <Loading what="sessions" />}
      {found.error && <ProblemNotice error={found.error} />}
      {found.data?.length === 0 && (
        <Empty title="Nobody is connected">
          <p>
            A session is here from the moment that its client has proved its secret until it ends.{" "}
            {me.roles.length === 0 && "You see your own."} What was run in sessions that are over is in the <Link to="/audit">audit</Link>.
          </p>
        </Empty>
      )}
      <ul className="cards">
        {found.data?.map((session) => (
          <li key={session.id}>
            <Card session={session} me={me} onStop={() => setStopping(session.principal)} />
          </li>
        ))}
      </ul>
      {stopping && <StopAgent who={stopping} onClose={() => setStopping(null)} />}
    </Page>
  );
}

/** What Postern puts before the name that the client gives itself. */
const OWN_PART = /^postern:[^:]*:/;

function Card({ session, me, onStop }: { session: Schemas["Session"]; me: Whoami; onStop: () => void }): ReactNode {
  const client = useQueryClient();
  const kill = useMutation({
    mutationFn: () => ask(api.POST("/api/v1/sessions/{id}/kill", { params: { path: { id: session.id } }, body: {} })),
    onSuccess: async () => {
      toast({ tone: "good", title: "Killed. Its grant goes on." });
      await client.invalidateQueries({ queryKey: ["sessions"] });
    },
  });
  const budget = useQuery(allGrants).data?.find((grant) => grant.id === session.grant_id)?.budget;
  const admin = me.roles.includes("admin");
  const mayEnd = admin || session.principal.id === me.id || session.on_behalf_of?.id === me.id;
  return (
    <article className="card grant">
      <header>
        <Who who={session.principal} behalf={session.on_behalf_of} />
        <span className="badges">
          <span className="badge">
            {session.role} on {session.connection}
          </span>
          {session.status === "authorized" && <span className="badge warn">opening</span>}
        </span>
      </header>
      <p className="muted">
        Since <Time at={session.started_at} /> from <Text>{session.client_address}</Text>
        {session.application_name && (
          <>
            {" · "}
            <Text>{session.application_name.replace(OWN_PART, "")}</Text>
          </>
        )}
        {session.database_role && (
          <>
            {" · as "}
            <Text>{session.database_role}</Text>
          </>
        )}
      </p>
      {budget && <Budget budget={budget} />}
      {kill.error && <ProblemNotice error={kill.error} />}
      <Running session={session.id}>
        <Link className="button" to="/sessions/$id" params={{ id: session.id }}>
          Statements
        </Link>
        {mayEnd && (
          <SureButton busy={kill.isPending} onSure={() => kill.mutate()}>
            Kill
          </SureButton>
        )}
        {admin && session.principal.kind === "agent" && (
          <button type="button" className="deny" onClick={onStop}>
            Stop this agent…
          </button>
        )}
      </Running>
    </article>
  );
}
