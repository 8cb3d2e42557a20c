import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import type { Schemas } from "../../api/client";
import { accessOf, whoami } from "../../api/queries";
import type { Whoami } from "../../api/types";
import { readsAll } from "../../shell/pages";
import { Facts } from "../../ui/Facts";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { Who } from "../../ui/Who";
import { StopAgent } from "../sessions/StopAgent";
import { LetAgain } from "./LetAgain";
import { Ways } from "./Ways";

type Access = Schemas["EffectiveAccess"];

/** What somebody can reach, and why. */
export function PrincipalPage(): ReactNode {
  const { principal } = useParams({ from: "/people/$principal" });
  const me = useQuery(whoami).data;
  const found = useQuery(accessOf(principal));
  return (
    <Page title="What they can reach" aside={<Link to="/people">People and agents</Link>}>
      {found.isPending && <Loading what="what they can reach" />}
      {found.error && <ProblemNotice error={found.error} />}
      {me && found.data && <Reached me={me} access={found.data} />}
    </Page>
  );
}

function Reached({ me, access }: { me: Whoami; access: Access }): ReactNode {
  return (
    <>
      <Person me={me} access={access} />
      {access.connections.length === 0 && (
        <Empty title="They can ask for nothing">
          <p>
            Whoever may ask for an access role is said by <code>groups</code> in the connection&apos;s document.
          </p>
        </Empty>
      )}
      {access.connections.map(({ connection, roles }) => (
        <section key={connection} className="group full">
          <h2>
            {readsAll(me) ? (
              <Link to="/connections/$name/people" params={{ name: connection }}>
                <Text>{connection}</Text>
              </Link>
            ) : (
              <Text>{connection}</Text>
            )}
          </h2>
          <Ways label={`Access roles of ${connection}`} rows={roles.map((way) => ({ key: way.role, way }))} />
        </section>
      ))}
    </>
  );
}

function Person({ me, access }: { me: Whoami; access: Access }): ReactNode {
  const [stopping, setStopping] = useState(false);
  const { principal, owner, stopped } = access;
  const admin = me.roles.includes("admin");
  const mayStop = !stopped && principal.kind === "agent" && (admin || owner === me.name);
  const badges: [boolean, string, string][] = [
    [access.admin, "", "admin"],
    [access.auditor, "", "auditor"],
    [access.disabled, "danger", "disabled"],
    [Boolean(stopped), "danger", "stopped"],
  ];
  return (
    <article className="card grant">
      <header>
        <Who who={principal} />
        <span className="badges">
          {badges.map(([is, tone, word]) => is && <span key={word} className={`badge ${tone}`}>{word}</span>)}
        </span>
      </header>
      {stopped && (
        <p className="notice warn">
          Stopped {stopped.by && <Text>{`by ${stopped.by.name} `}</Text>}
          <Time at={stopped.at} />
          {stopped.reason && <Text>{`: ${stopped.reason}`}</Text>}
        </p>
      )}
      <Facts
        of={[
          ["Groups", access.groups.length > 0 ? <Text key="groups">{access.groups.join(", ")}</Text> : "none"],
          [
            "Answers for it",
            principal.kind === "agent" &&
              (owner ? (
                <Link key="owner" to="/people/$principal" params={{ principal: `user:${owner}` }}>
                  <Text>{owner}</Text>
                </Link>
              ) : (
                "nobody"
              )),
          ],
          ["Last here", access.last_used_at ? <Time key="used" at={access.last_used_at} /> : "never"],
        ]}
      />
      <p className="muted">What their tokens are narrowed to is left out of account. An open grant lasts whatever policies say of the next request.</p>
      {(mayStop || (stopped && admin)) && (
        <div className="buttons">
          {stopped ? (
            <LetAgain who={principal} />
          ) : (
            <button type="button" className="deny" onClick={() => setStopping(true)}>
              Stop this agent…
            </button>
          )}
        </div>
      )}
      {stopping && <StopAgent who={principal} onClose={() => setStopping(false)} />}
    </article>
  );
}
