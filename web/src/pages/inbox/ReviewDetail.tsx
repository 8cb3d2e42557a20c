import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Review, Whoami } from "../../api/types";
import { Facts } from "../../ui/Facts";
import { Sql } from "../../ui/Sql";
import { Text } from "../../ui/Text";
import { Countdown, Time } from "../../ui/Time";
import { Who } from "../../ui/Who";
import { Comments } from "./Comments";
import { DecideReview } from "./DecideReview";
import { Effect } from "./Effect";
import { whyNot, type Item } from "./items";
import { spellDecision, spellNeeds } from "./needs";
import { Proof } from "./Proof";
import { Recent } from "./Recent";
import { Risk } from "./Risk";
import { Status } from "./Status";
import { Votes } from "./Votes";

interface Props {
  me: Whoami;
  review: Review;
  /** Everything that is known of, for what they asked before. */
  all: Item[];
  onDecided: () => void;
}

/** A statement that waits: who, what, and what it would do. */
export function ReviewDetail({ me, review, all, onDecided }: Props): ReactNode {
  const item: Item = { kind: "review", id: review.id, of: review };
  const obstacle = whyNot(me, item);
  const pending = review.status === "pending";
  const { statement } = review;
  return (
    <article>
      <header>
        <p className="over">
          <span className="badge">Statement</span>
          {!pending && <Status of={review.status} />}
          {review.waiting > 0 && <span className="badge warn">its client waits</span>}
          <span className="muted">
            sent <Time at={review.created_at} />
          </span>
        </p>
        <h2>
          <Who who={review.principal} behalf={review.on_behalf_of} />
        </h2>
        <Proof behalf={review.on_behalf_of} proof={review.behalf_proof} />
        <p className="lead">
          wants to run <strong>{statement.tag}</strong> on <strong>{review.connection}</strong> as <strong>{review.role}</strong>
        </p>
        <Risk connection={review.connection} role={review.role} />
      </header>
      {statement.message && (
        <p className="notice">
          <Text>{statement.message}</Text>
        </p>
      )}
      <Sql text={statement.sql} />
      {statement.sql_bytes && (
        <p className="notice bad">Only the beginning is shown: the whole has {statement.sql_bytes.toLocaleString()} bytes.</p>
      )}
      {review.decision?.edited_sql && (
        <section>
          <h3>Approved in its place</h3>
          <Sql text={review.decision.edited_sql} />
        </section>
      )}
      <Effect preview={review.preview} />
      <section>
        <h3>Why</h3>
        <blockquote>
          <Text>{review.reason}</Text>
        </blockquote>
      </section>
      <Facts
        of={[
          ["Ticket", review.ticket && <Text>{review.ticket}</Text>],
          ["Held by", <HeldBy key="policies" me={me} policies={statement.policies} />],
          ["Needs", spellNeeds(review.needed)],
          ["Answer within", pending && <Countdown until={review.expires_at} />],
          ["Passed on", review.escalated_at ? `to ${review.escalate_to.join(", ")}, since nobody had answered` : null],
          ["Touches", <Text key="relations">{statement.relations.join(", ")}</Text>],
          ["Transaction", statement.in_transaction && "inside one of the client's own"],
          ["Decided", review.decided_at && <Time at={review.decided_at} />],
          ["Approved", review.decision && spellDecision(review.decision)],
          ["Used", review.claimed_at && `${review.uses} ${review.uses === 1 ? "time" : "times"}`],
          ["Because", review.because && <Text>{review.because}</Text>],
          [
            "Session",
            <Link key="session" to="/sessions/$id" params={{ id: review.session_id }}>
              all its statements
            </Link>,
          ],
        ]}
      />
      <Votes title="Answers" votes={review.votes.map((vote) => ({ ...vote, approves: Boolean(vote.approves), proposal: vote.approves }))} />
      <Comments of={review.comments} />
      <Recent me={me} item={item} all={all} />
      {pending && obstacle === null && <DecideReview review={review} onDecided={onDecided} />}
      {obstacle !== null && <p className="notice">{obstacle}</p>}
    </article>
  );
}

/** The policies that asked for people; those who may read policies get to their files. */
function HeldBy({ me, policies }: { me: Whoami; policies: string[] }): ReactNode {
  const names = <Text>{policies.join(", ")}</Text>;
  return me.roles.some((role) => role === "admin" || role === "auditor") ? <Link to="/policies">{names}</Link> : names;
}
