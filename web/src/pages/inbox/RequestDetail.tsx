import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";
import type { Request, Whoami } from "../../api/types";
import { spelled } from "../../ui/duration";
import { Facts } from "../../ui/Facts";
import { sentence } from "../../ui/Notice";
import { Countdown, Time } from "../../ui/Time";
import { Text } from "../../ui/Text";
import { Who } from "../../ui/Who";
import { CloseRequest } from "./CloseRequest";
import { Comments } from "./Comments";
import { DecideRequest } from "./DecideRequest";
import { whyNot, type Item } from "./items";
import { Kind } from "./Kind";
import { spellNeeds } from "./needs";
import { Proof } from "./Proof";
import { Recent } from "./Recent";
import { Risk } from "./Risk";
import { Status } from "./Status";
import { Votes } from "./Votes";

interface Props {
  me: Whoami;
  request: Request;
  /** Everything that is known of, for what they asked before. */
  all: Item[];
  onDecided: () => void;
}

export function RequestDetail({ me, request, all, onDecided }: Props): ReactNode {
  const item: Item = { kind: "request", id: request.id, of: request };
  const obstacle = whyNot(me, item);
  const pending = request.status === "pending";
  return (
    <article>
      <header>
        <p className="over">
          <span className="badge">Access</span>
          <Kind of={request} />
          {!pending && <Status of={request.status} />}
          <span className="muted">
            asked <Time at={request.created_at} />
          </span>
        </p>
        <h2>
          <Who who={request.requester} behalf={request.on_behalf_of} />
        </h2>
        <Proof behalf={request.on_behalf_of} proof={request.behalf_proof} />
        <p className="lead">
          asks for <strong>{request.role}</strong> on <strong>{request.connection}</strong> for{" "}
          <strong>{spelled(request.duration)}</strong>
        </p>
        <Risk connection={request.connection} role={request.role} />
      </header>
      <blockquote>
        <Text>{request.reason}</Text>
      </blockquote>
      <Facts
        of={[
          ["Ticket", request.ticket && <Text>{request.ticket}</Text>],
          ["Why you are asked", sentence(request.policy_reason)],
          ["Still needs", pending && spellNeeds(request.missing ?? [], request.quorum.mode === "any" ? " or " : " and ")],
          ["Only these tables", (request.relations ?? []).length > 0 && <Text>{(request.relations ?? []).join(", ")}</Text>],
          ["Only from", request.client_address && <Text>{request.client_address}</Text>],
          ["Until", request.recurring && <Time at={request.recurring.until} relative={false} />],
          ["On", spellWindows(request.recurring?.windows ?? [])],
          ["Answer within", pending && <Countdown until={request.expires_at} />],
          ["Decided", request.decided_at && <Time at={request.decided_at} />],
          ["Request", <code key="id">{request.id}</code>],
        ]}
      />
      <Votes
        title={request.approvals_needed > 1 ? `Answers, of ${request.approvals_needed} approvals that are needed` : "Answers"}
        votes={request.votes.map((vote) => ({ ...vote, approves: vote.verdict === "approve" }))}
      />
      <Comments of={request.comments ?? []} />
      <Recent me={me} item={item} all={all} />
      {pending && obstacle === null && <DecideRequest request={request} onDecided={onDecided} />}
      {!pending && request.to_review && obstacle === null && <CloseRequest request={request} onDecided={onDecided} />}
      {request.closed?.reason && (
        <p className="notice">
          Looked at by {request.closed.by?.name ?? "Postern"}: <Text>{request.closed.reason}</Text>
        </p>
      )}
      {obstacle !== null && <p className="notice">{obstacle}</p>}
    </article>
  );
}

function spellWindows(windows: Schemas["Window"][]): string {
  return windows.map(({ days, from, to, time_zone }) => `${days.join(", ")} ${from}–${to} ${time_zone}`).join("; ");
}
