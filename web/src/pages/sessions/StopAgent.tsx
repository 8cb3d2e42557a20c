import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { api, ask } from "../../api/client";
import type { PrincipalRef } from "../../api/types";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { ProblemNotice } from "../../ui/Notice";
import { toast } from "../../ui/toasts";

/** Everything of an agent, at once: its grants and sessions end, and it gets nothing new. */
export function StopAgent({ who, onClose }: { who: PrincipalRef; onClose: () => void }): ReactNode {
  const client = useQueryClient();
  const [reason, setReason] = useState("");
  const stop = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/principals/{principal}/stop", {
          params: { path: { principal: `${who.kind}:${who.name}` } },
          body: reason.trim() ? { reason: reason.trim() } : {},
        }),
      ),
    onSuccess: async ({ grants }) => {
      toast({ tone: "good", title: `${who.name} is stopped: ${grants} ${grants === 1 ? "grant has" : "grants have"} ended, with all sessions.` });
      onClose();
      await Promise.all([client.invalidateQueries({ queryKey: ["sessions"] }), client.invalidateQueries({ queryKey: ["access"] })]);
    },
  });
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    stop.mutate();
  };
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Stop ${who.name}`}
      description={
        <>
          All its grants and sessions end, with what the database still runs for them, and its requests are withdrawn. It gets nothing new until an
          admin lifts that: <code>postern stop {`${who.kind}:${who.name}`} --off</code>.
        </>
      }
    >
      <form onSubmit={submit}>
        <Field label="Why" hint="It reads this, and so does the audit.">
          {(field) => <textarea {...field} rows={2} maxLength={1000} value={reason} onChange={(event) => setReason(event.target.value)} />}
        </Field>
        {stop.error && <ProblemNotice error={stop.error} />}
        <div className="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="deny solid" disabled={stop.isPending}>
            {stop.isPending ? "Stopping…" : "Stop it"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
