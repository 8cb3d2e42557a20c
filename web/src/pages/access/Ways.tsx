import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";
import { spelled } from "../../ui/duration";
import { sentence } from "../../ui/Notice";
import { Table } from "../../ui/Table";
import { Text } from "../../ui/Text";
import { Countdown } from "../../ui/Time";

type Way = Schemas["WayIn"];

interface Row {
  key: string;
  /** Whose it is, where that differs. */
  first?: ReactNode;
  way: Way;
}

/** Access roles, and what each is to somebody, with why. */
export function Ways({ label, first, rows }: { label: string; first?: string; rows: Row[] }): ReactNode {
  const columns = ["Access role", "May ask", "A request is", "A session is", "Open grant"];
  return (
    <Table
      label={label}
      columns={first ? [first, ...columns] : columns}
      rows={rows.map(({ key, first: whose, way }): [string, ...ReactNode[]] => [
        key,
        ...(first ? [whose] : []),
        <Role key="role" way={way} />,
        <Text key="ask">{sentence(way.because)}</Text>,
        <Answer key="answer" way={way} />,
        <Session key="session" way={way} />,
        <Grant key="grant" way={way} />,
      ])}
    />
  );
}

function Role({ way }: { way: Way }): ReactNode {
  return (
    <>
      <strong>
        <Text>{way.role}</Text>
      </strong>{" "}
      {way.read_only && <span className="badge good">only reads</span>}
      <span className="muted block">
        {way.mode}
        {way.database_role && (
          <>
            {" · "}
            <Text>{way.database_role}</Text>
          </>
        )}
        {" · up to "}
        {spelled(way.max_duration)}
      </span>
    </>
  );
}

const ANSWERS: Record<Way["answer"], [string, string]> = {
  granted: ["good", "granted at once"],
  review: ["warn", "for people to answer"],
  denied: ["", "denied"],
};

function Answer({ way }: { way: Way }): ReactNode {
  const [tone, word] = ANSWERS[way.answer];
  return (
    <>
      <span className={`badge ${tone}`}>{word}</span>
      {way.in_emergencies && <span className="badge danger">at once in emergencies</span>}
      {way.rule && (
        <span className="muted block">
          <Text>{sentence(way.rule)}</Text>
        </span>
      )}
    </>
  );
}

function Session({ way }: { way: Way }): ReactNode {
  return (
    <>
      <span className={way.connects ? "badge good" : "badge danger"}>{way.connects ? "let in" : "kept out"}</span>
      <span className="muted block">{way.policies.length > 0 ? <Text>{way.policies.join(", ")}</Text> : "No policy permits it."}</span>
    </>
  );
}

function Grant({ way }: { way: Way }): ReactNode {
  if (!way.grant) return <span className="muted">none</span>;
  return (
    <>
      <Countdown until={way.grant.expires_at} /> left
      {way.grant.on_behalf_of && (
        <span className="muted block">
          for <Text>{way.grant.on_behalf_of.name}</Text>
        </span>
      )}
    </>
  );
}
