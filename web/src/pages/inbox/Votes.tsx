import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";
import type { PrincipalRef } from "../../api/types";
import { Sql } from "../../ui/Sql";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { Who } from "../../ui/Who";
import { spellDecision } from "./needs";
import { Status } from "./Status";

interface Answer {
  reviewer: PrincipalRef;
  approves: boolean;
  reason?: string | null | undefined;
  at: string;
  /** Of a statement: what a yes is for. */
  proposal?: Schemas["Proposal"] | null | undefined;
}

/** What reviewers have said. */
export function Votes({ title, votes }: { title: string; votes: Answer[] }): ReactNode {
  if (votes.length === 0) return null;
  return (
    <section>
      <h3>{title}</h3>
      <ul className="votes">
        {votes.map((vote) => (
          <li key={vote.reviewer.id}>
            <Who who={vote.reviewer} />
            <Status of={vote.approves ? "approved" : "denied"} />
            <Time at={vote.at} />
            {vote.proposal && <span className="muted">{spellDecision(vote.proposal)}</span>}
            {vote.proposal?.edited_sql && <Sql text={vote.proposal.edited_sql} bare />}
            {vote.reason && (
              <p>
                <Text>{vote.reason}</Text>
              </p>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
