import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { api, ask } from "../../api/client";
import { agents, users } from "../../api/queries";
import type { Whoami } from "../../api/types";
import { Chips } from "../../ui/Chips";
import { Copy } from "../../ui/Copy";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { ProblemNotice } from "../../ui/Notice";

const LIVES = [
  { value: "1d", label: "A day" },
  { value: "30d", label: "30 days" },
  { value: "90d", label: "90 days" },
];

/** A token, shown this once; for oneself, or by an admin for anybody. */
export function NewToken({ me, onClose }: { me: Whoami; onClose: () => void }): ReactNode {
  const client = useQueryClient();
  const admin = me.roles.includes("admin");
  const people = useQuery({ ...users, enabled: admin }).data ?? [];
  const bots = useQuery({ ...agents, enabled: admin }).data ?? [];
  const others = [
    ...bots.map(({ name }) => ({ kind: "agent" as const, name })),
    ...people.filter(({ id }) => id !== me.id).map(({ name }) => ({ kind: "user" as const, name })),
  ];
  const [of, setOf] = useState("");
  const [name, setName] = useState("");
  const [expires, setExpires] = useState("30d");
  const make = useMutation({
    gcTime: 0,
    mutationFn: () => {
      const principal = others.find((one) => `${one.kind}:${one.name}` === of);
      return ask(api.POST("/api/v1/tokens", { body: { name: name.trim(), expires, ...(principal && { principal }) } }));
    },
    onSuccess: () => client.invalidateQueries({ queryKey: ["tokens"] }),
  });
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (name.trim()) make.mutate();
  };
  return (
    <Dialog open onClose={onClose} title="New token" description="Whoever has it acts as whose it is. It is shown this once.">
      {make.data ? (
        <figure className="sql">
          {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach */}
          <pre tabIndex={0} aria-label="Token">
            <code>{make.data.token}</code>
          </pre>
          <figcaption>
            <span className="grow" />
            <Copy text={make.data.token} />
          </figcaption>
        </figure>
      ) : (
        <form onSubmit={submit}>
          {admin && (
            <Field label="Whose">
              {(field) => (
                <select {...field} value={of} onChange={(event) => setOf(event.target.value)}>
                  <option value="">{me.name} (yourself)</option>
                  {others.map((one) => (
                    <option key={`${one.kind}:${one.name}`} value={`${one.kind}:${one.name}`}>
                      {one.name} ({one.kind})
                    </option>
                  ))}
                </select>
              )}
            </Field>
          )}
          <Field label="What it is for">
            {(field) => <input {...field} value={name} maxLength={100} onChange={(event) => setName(event.target.value)} />}
          </Field>
          <div className="field">
            <span className="label">It ends after</span>
            <Chips label="It ends after" value={expires} options={LIVES} onChange={setExpires} />
          </div>
          {make.error && <ProblemNotice error={make.error} />}
          <div className="buttons">
            <button type="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" className="primary" disabled={make.isPending || !name.trim()}>
              Make it
            </button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
