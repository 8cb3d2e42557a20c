import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { api, ask } from "../../api/client";
import type { PrincipalRef } from "../../api/types";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { ProblemNotice } from "../../ui/Notice";
import { toast } from "../../ui/toasts";

/** Everything of an agent, at once: its grants, and with them its sessions. */
export function StopAgent({ who, onClose }: { who: PrincipalRef; onClose: () => void }): ReactNode {
  const client = useQueryClient();
  const [reason, setReason] = useState("");
  const stop = useMutation({
    mutationFn: async () => {
      const grants = await ask(api.GET("/api/v1/grants", { params: { query: { all: true } } }));
      const open = grants.filter((grant) => grant.principal.id === who.id && grant.status === "open");
      const body = reason.trim() ? { reason: reason.trim() } : {};
      const revoke = (id: string) => ask(api.POST("/api/v1/grants/{id}/revoke", { params: { path: { id } }, body }));
      await Promise.all(open.map((grant) => revoke(grant.id)));
      return open.length;
    },
    onSuccess: async (count) => {
      toast({ tone: "good", title: `${who.name} is stopped: ${count} ${count === 1 ? "grant" : "grants"} revoked, with all sessions.` });
      onClose();
      await client.invalidateQueries({ queryKey: ["sessions"] });
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
      description="All its open grants are revoked and all its sessions end, with what the database still runs for them. It can ask again."
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
