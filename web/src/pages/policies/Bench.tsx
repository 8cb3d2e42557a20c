import { useMutation, useQuery } from "@tanstack/react-query";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { sql } from "@codemirror/lang-sql";
import { api, ask, type Schemas } from "../../api/client";
import { agents, connections, users } from "../../api/queries";
import { Editor } from "../../code/Editor";
import { Field } from "../../ui/Field";
import { ProblemNotice, sentence } from "../../ui/Notice";
import { Sql } from "../../ui/Sql";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { Outcome } from "./Outcome";

type Files = Schemas["PolicyFile"][];

const SQL = sql();

/** What policies say: of one statement by anybody, and of what was really sent. */
export function Bench({ files }: { files: Files }): ReactNode {
  return (
    <div className="ask">
      <Try files={files} />
      <Replay files={files} />
    </div>
  );
}

function Try({ files }: { files: Files }): ReactNode {
  const people = useQuery(users).data ?? [];
  const bots = useQuery(agents).data ?? [];
  const places = useQuery(connections).data ?? [];
  const who = [
    ...bots.map(({ name }) => ({ kind: "agent" as const, name })),
    ...people.map(({ name }) => ({ kind: "user" as const, name })),
  ];
  const where = places.flatMap((one) => one.roles.map((role) => ({ connection: one.name, role: role.name })));
  const [chosenWho, setWho] = useState(0);
  const [chosenWhere, setWhere] = useState(0);
  const [text, setText] = useState("");
  const test = useMutation({
    mutationFn: () => {
      const [principal, place] = [who[chosenWho], where[chosenWhere]];
      if (!principal || !place) throw new Error("there is nobody, or no connection");
      return ask(api.POST("/api/v1/policies/test", { body: { principal, ...place, sql: text, policies: files } }));
    },
  });
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (text.trim()) test.mutate();
  };
  return (
    <section className="group">
      <h2>Try a statement</h2>
      <form className="card" onSubmit={submit}>
        <Field label="Who">
          {(field) => (
            <select {...field} value={chosenWho} onChange={(event) => setWho(Number(event.target.value))}>
              {who.map(({ kind, name }, at) => (
                <option key={`${kind}/${name}`} value={at}>
                  {name} ({kind})
                </option>
              ))}
            </select>
          )}
        </Field>
        <Field label="Where">
          {(field) => (
            <select {...field} value={chosenWhere} onChange={(event) => setWhere(Number(event.target.value))}>
              {where.map(({ connection, role }, at) => (
                <option key={`${connection}/${role}`} value={at}>
                  {connection} · {role}
                </option>
              ))}
            </select>
          )}
        </Field>
        <div className="field">
          <span className="label">Statement</span>
          <div className="small-editor">
            <Editor label="Statement to try" value={text} language={SQL} onChange={setText} />
          </div>
          <p className="muted">It is understood as in a session, and not run.</p>
        </div>
        <div className="buttons">
          <button type="submit" disabled={test.isPending || !text.trim()}>
            {test.isPending ? "Trying…" : files.length > 0 ? "Try with the change" : "Try"}
          </button>
        </div>
        {test.error && <ProblemNotice error={test.error} />}
        {test.data && <Tested tested={test.data} />}
      </form>
    </section>
  );
}

function Tested({ tested }: { tested: Schemas["PolicyTested"] }): ReactNode {
  return (
    <div className="group" role="status">
      {tested.problem && (
        <p className="notice bad">
          <Outcome of={tested.outcome} /> <Text>{sentence(tested.problem.message)}</Text> <Text>{sentence(tested.problem.hint)}</Text>
        </p>
      )}
      {tested.statements.map((statement, at) => (
        <div key={at} className="group">
          <p>
            <Outcome of={statement.outcome} />
          </p>
          <Sql text={statement.sql} bare />
          <pre className="explained">
            <Text>{statement.text}</Text>
          </pre>
          {statement.problem && (
            <p className="notice bad">
              <Text>{sentence(statement.problem.message)}</Text>
            </p>
          )}
        </div>
      ))}
    </div>
  );
}

/** The most that is decided anew. */
const MOST = 10_000;

function Replay({ files }: { files: Files }): ReactNode {
  const replay = useMutation({
    mutationFn: () => ask(api.POST("/api/v1/policies/replay", { body: { policies: files, limit: MOST } })),
  });
  const { data } = replay;
  return (
    <section className="group">
      <h2>What it would have decided</h2>
      <div className="card grant">
        <p className="muted">
          The last {MOST.toLocaleString()} statements that were really sent, decided anew by {files.length > 0 ? "the change" : "what is in force"}.
        </p>
        <div className="buttons">
          <button type="button" onClick={() => replay.mutate()} disabled={replay.isPending}>
            {replay.isPending ? "Deciding…" : "Decide anew"}
          </button>
        </div>
        {replay.error && <ProblemNotice error={replay.error} />}
        {data && (
          <div className="group" role="status">
            <p>
              <strong>{data.differing.length.toLocaleString()}</strong> of {data.decided.toLocaleString()} would be decided otherwise
              {data.undecided > 0 && `; of ${data.undecided.toLocaleString()} it cannot be told`}.
            </p>
            <ul className="group">
              {data.differing.slice(0, 50).map((one) => (
                <li key={one.id} className="group">
                  <p className="muted">
                    <Text>{one.principal ?? ""}</Text> · <Time at={one.at} /> · <Outcome of={one.was.outcome} /> → <Outcome of={one.would_be.outcome} />
                  </p>
                  <Sql text={one.sql ?? ""} bare />
                </li>
              ))}
            </ul>
          </div>
        )}
      </div>
    </section>
  );
}
