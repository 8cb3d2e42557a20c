import { useMutation, useQuery } from "@tanstack/react-query";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { parts } from "../../api/queries";
import { Copy } from "../../ui/Copy";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { ProblemNotice } from "../../ui/Notice";
import { Countdown } from "../../ui/Time";
import { addresses, command } from "./enrolment";

/** A join token, shown this once. */
export function Enrol({ kind, onClose }: { kind: Schemas["PartKind"]; onClose: () => void }): ReactNode {
  const [name, setName] = useState("");
  const make = useMutation({
    gcTime: 0,
    mutationFn: () => ask(api.POST("/api/v1/join-tokens", { body: { kind, name: name.trim() } })),
  });
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (name.trim()) make.mutate();
  };
  const gateways = addresses(useQuery(parts).data ?? []);
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Enrol a ${kind}`}
      description={kind === "connector" ? "It runs next to its databases and dials out; connections name it." : "It is where clients and connectors connect."}
    >
      {make.data ? (
        <>
          <p>
            The token is good once, for <Countdown until={make.data.expires_at} />, and shown this once. On the {kind}&apos;s machine, as root:
          </p>
          <figure className="sql">
            {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach */}
            <pre tabIndex={0} aria-label="Command">
              <code>{command(kind, make.data.token, gateways)}</code>
            </pre>
            <figcaption>
              <span className="grow" />
              <Copy text={command(kind, make.data.token, gateways)} />
            </figcaption>
          </figure>
          <p className="muted">
            {kind === "connector" && gateways.length > 0
              ? "It needs the program, its user and its unit there, as the guide to operating says. It is attached once it has started."
              : "Its configuration names that file as join_token; it is attached once it has started."}
          </p>
        </>
      ) : (
        <form onSubmit={submit}>
          <Field label="Name" hint={kind === "connector" ? "As connections name it: orders." : "As you want to call it: eu-1."}>
            {(field) => <input {...field} value={name} onChange={(event) => setName(event.target.value)} />}
          </Field>
          {make.error && <ProblemNotice error={make.error} />}
          <div className="buttons">
            <button type="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" className="primary" disabled={make.isPending || !name.trim()}>
              Make a join token
            </button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
