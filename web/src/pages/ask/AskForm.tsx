import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { api, ask, problemOf, type Schemas } from "../../api/client";
import { waysIn } from "../../api/queries";
import type { Connection, ConnectionRole, Whoami } from "../../api/types";
import { Chips } from "../../ui/Chips";
import { Copy } from "../../ui/Copy";
import { choices as durations, spelled } from "../../ui/duration";
import { Field } from "../../ui/Field";
import { Loading, ProblemNotice, sentence } from "../../ui/Notice";
import { Text, visible } from "../../ui/Text";
import { toast } from "../../ui/toasts";
import { askingCommand } from "./commands";

type Way = Schemas["WayIn"];

interface Props {
  me: Whoami;
  choices: [Connection, ConnectionRole][];
  connection: Connection;
  role: ConnectionRole;
}

export function AskForm({ me, choices, connection, role }: Props): ReactNode {
  const client = useQueryClient();
  const navigate = useNavigate({ from: "/ask" });
  const options = durations(role.max_duration);
  const [duration, setDuration] = useState(options.includes("30m") ? "30m" : (options[0] ?? role.max_duration));
  const [reason, setReason] = useState("");
  const [ticket, setTicket] = useState("");
  const [behalf, setBehalf] = useState("");
  const [address, setAddress] = useState("");
  const ways = useQuery(waysIn(connection.name));
  const way = ways.data?.roles.find((one) => one.role === role.name);
  const send = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/requests", {
          body: {
            connection: connection.name,
            role: role.name,
            duration,
            reason: reason.trim(),
            ...(ticket.trim() && { ticket: ticket.trim() }),
            ...(behalf.trim() && { on_behalf_of: behalf.trim() }),
            ...(address.trim() && { client_address: address.trim() }),
          },
        }),
      ),
    onSuccess: async (request) => {
      toast({
        tone: "good",
        title: request.status === "approved" ? "Approved at once: it is open." : "Sent. It opens here once it is approved.",
      });
      setReason("");
      setTicket("");
      await Promise.all([client.invalidateQueries({ queryKey: ["requests"] }), client.invalidateQueries({ queryKey: ["grants"] })]);
    },
  });
  const wrong = send.error ? problemOf(send.error) : null;
  const about = (field: string): string | null => (wrong?.field === field ? wrong.message : null);
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (reason.trim()) send.mutate();
  };
  return (
    <form className="card" onSubmit={submit}>
      <Field label="Access to">
        {(field) => (
          <select
            {...field}
            value={JSON.stringify([connection.name, role.name])}
            onChange={(event) => {
              const [connection, role] = JSON.parse(event.target.value) as [string, string];
              void navigate({ search: { connection, role }, replace: true });
            }}
          >
            {choices.map(([one, its]) => (
              <option key={`${one.name}/${its.name}`} value={JSON.stringify([one.name, its.name])}>
                {one.name} · {its.name} ({its.read_only ? "only reads" : "can change data"})
              </option>
            ))}
          </select>
        )}
      </Field>
      <div className="field">
        <span className="label">For how long</span>
        <Chips label="For how long" value={duration} options={options.map((value) => ({ value, label: spelled(value) }))} onChange={setDuration} />
        {about("duration") && <p className="error">{about("duration")}</p>}
      </div>
      <Field label="Why" hint="Whoever decides reads this; say what you want to find out or change." error={about("reason")}>
        {(field) => <textarea {...field} rows={3} maxLength={1000} required value={reason} onChange={(event) => setReason(event.target.value)} />}
      </Field>
      <Field label="Ticket, if there is one" error={about("ticket")}>
        {(field) => <input {...field} value={ticket} maxLength={200} onChange={(event) => setTicket(event.target.value)} />}
      </Field>
      {me.kind === "agent" && (
        <Field label="On behalf of" hint="The name of the user for whom you act, if there is one." error={about("on_behalf_of")}>
          {(field) => <input {...field} value={behalf} onChange={(event) => setBehalf(event.target.value)} />}
        </Field>
      )}
      {way?.bind?.includes("address") && (
        <Field label="From which address" hint="The role's grants are bound to the address from which clients come, like 192.0.2.7." error={about("client_address")}>
          {(field) => <input {...field} required value={address} onChange={(event) => setAddress(event.target.value)} />}
        </Field>
      )}
      <Outlook connection={connection} way={way} error={ways.error} />
      <AsCommand text={askingCommand(connection.name, role.name, duration, reason.trim())} />
      {wrong && !["duration", "reason", "ticket", "on_behalf_of", ...(way?.bind?.includes("address") ? ["client_address"] : [])].includes(wrong.field ?? "") && <ProblemNotice error={wrong} />}
      <div className="buttons">
        <button type="submit" className="primary big" disabled={send.isPending || !reason.trim()}>
          {send.isPending ? "Sending…" : way?.answer === "granted" ? "Get access" : "Ask"}
        </button>
      </div>
    </form>
  );
}

/** The same for a terminal, or for whoever works there. */
function AsCommand({ text }: { text: string }): ReactNode {
  return (
    <details>
      <summary>As commands</summary>
      <figure className="sql">
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach */}
        <pre tabIndex={0} aria-label="Commands">
          <code>{visible(text)}</code>
        </pre>
        <figcaption>
          <span className="grow" />
          <Copy text={text} />
        </figcaption>
      </figure>
      <p className="muted">They need a token of their own, in POSTERN_TOKEN or by <code>postern login</code>.</p>
    </details>
  );
}

/** What will become of it, before it is sent: what the control plane would answer at this moment. */
function Outlook({ connection, way, error }: { connection: Connection; way: Way | undefined; error: Error | null }): ReactNode {
  if (error) return <ProblemNotice error={error} />;
  if (!way) return <Loading what="what would become of it" />;
  return (
    <div className={way.answer === "denied" ? "notice bad" : "notice"} role="status">
      <p>
        {OUTLOOKS[way.answer]} <Text>{sentence(way.answer === "denied" ? way.because : way.rule)}</Text>
      </p>
      {!way.connects && (
        <p>
          Policies let no session begin by it at the moment: <Text>{way.policies.join(", ") || "none permits it"}</Text>.
        </p>
      )}
      {connection.freeze && !way.read_only && <p>The connection is frozen: nothing can be changed there at the moment.</p>}
      {connection.status !== "up" && (
        <p>
          It cannot be reached at the moment{connection.problem && <Text>{`: ${connection.problem}`}</Text>}.
        </p>
      )}
    </div>
  );
}

const OUTLOOKS: Record<Way["answer"], ReactNode> = {
  granted: (
    <>
      It will be <strong>approved at once</strong>.
    </>
  ),
  review: (
    <>
      <strong>People</strong> will be asked.
    </>
  ),
  denied: (
    <>
      It will be <strong>refused</strong>.
    </>
  ),
};
