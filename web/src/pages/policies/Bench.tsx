import { useMutation, useQuery } from "@tanstack/react-query";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { sql } from "@codemirror/lang-sql";
import { api, ask, type Schemas } from "../../api/client";
import { agents, connections, users, whoami } from "../../api/queries";
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

interface Choice {
  value: string;
  label: string;
}

interface ChoiceProps {
  label: string;
  choices: Choice[];
  value: string;
  onChange: (value: string) => void;
  /** How it is written. */
  hint: string;
}

function Try({ files }: { files: Files }): ReactNode {
  const admin = useQuery(whoami).data?.roles.includes("admin") ?? false;
  const people = useQuery({ ...users, enabled: admin }).data ?? [];
  const bots = useQuery({ ...agents, enabled: admin }).data ?? [];
  const places = useQuery(connections).data ?? [];
  const who: Choice[] = [
    ...bots.map(({ name }) => ({ value: `agent:${name}`, label: `${name} (agent)` })),
    ...people.map(({ name }) => ({ value: `user:${name}`, label: `${name} (user)` })),
  ];
  const where: Choice[] = places.flatMap((one) => one.roles.map(({ name }) => ({ value: `${one.name}/${name}`, label: `${one.name} · ${name}` })));
  const [wantedWho, setWho] = useState("");
  const [wantedWhere, setWhere] = useState("");
  const chosenWho = wantedWho || (who[0]?.value ?? "");
  const chosenWhere = wantedWhere || (where[0]?.value ?? "");
  const [text, setText] = useState("");
  const test = useMutation({
    mutationFn: () => {
      const [kind, name] = cut(chosenWho, ":");
      const [connection, role] = cut(chosenWhere, "/");
      const principal = { kind: kind === "user" ? ("user" as const) : ("agent" as const), name };
      return ask(api.POST("/api/v1/policies/test", { body: { principal, connection, role, sql: text, policies: files } }));
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
        <OneOf label="Who" choices={who} value={chosenWho} onChange={setWho} hint="agent:NAME or user:NAME" />
        <OneOf label="Where" choices={where} value={chosenWhere} onChange={setWhere} hint="connection/role" />
        <div className="field">
          <span className="label">Statement</span>
          <div className="small-editor">
            <Editor label="Statement to try" value={text} language={SQL} onChange={setText} />
          </div>
          <p className="muted">It is understood as in a session, and not run.</p>
        </div>
        <div className="buttons">
          <button type="submit" disabled={test.isPending || !text.trim() || !chosenWho || !chosenWhere}>
            {test.isPending ? "Trying…" : files.length > 0 ? "Try with the change" : "Try"}
          </button>
        </div>
        {test.error && <ProblemNotice error={test.error} />}
        {test.data && <Tested tested={test.data} />}
      </form>
    </section>
  );
}

/** One of those that are known; who may not list them writes it. */
function OneOf({ label, choices, value, onChange, hint }: ChoiceProps): ReactNode {
  return (
    <Field label={label} hint={choices.length === 0 && hint}>
      {(field) =>
        choices.length > 0 ? (
          <select {...field} value={value} onChange={(event) => onChange(event.target.value)}>
            {choices.map((choice) => (
              <option key={choice.value} value={choice.value}>
                {choice.label}
              </option>
            ))}
          </select>
        ) : (
          <input {...field} value={value} onChange={(event) => onChange(event.target.value)} />
        )
      }
    </Field>
  );
}

/** What stands before the first of these, and after it. */
function cut(text: string, at: string): [string, string] {
  const place = text.indexOf(at);
  return place < 0 ? [text, ""] : [text.slice(0, place), text.slice(place + at.length)];
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
