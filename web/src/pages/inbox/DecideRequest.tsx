import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRef, useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import type { Request } from "../../api/types";
import { Chips } from "../../ui/Chips";
import { choices, spelled } from "../../ui/duration";
import { useKeys } from "../../ui/keys";
import { ProblemNotice } from "../../ui/Notice";
import { toast } from "../../ui/toasts";
import { Deny } from "./Deny";
import { SETTLE_MS } from "./settle";

/** Yes, yes for less time, or no. */
export function DecideRequest({ request, onDecided }: { request: Request; onDecided: () => void }): ReactNode {
  const client = useQueryClient();
  const [duration, setDuration] = useState(request.duration);
  const [denying, setDenying] = useState(false);
  const [since] = useState(Date.now);
  const busy = useRef(false);
  const path = { params: { path: { id: request.id } } };
  const done = (title: string) => async (): Promise<void> => {
    toast({ tone: "good", title });
    onDecided();
    await client.invalidateQueries({ queryKey: ["requests"] });
  };
  const approve = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/requests/{id}/approve", {
          ...path,
          body: duration === request.duration ? {} : { duration },
        }),
      ),
    onSuccess: (after) =>
      done(
        after.status === "approved"
          ? `Approved: ${request.role} on ${request.connection} for ${spelled(after.duration)}.`
          : "Your approval counts. It waits for others.",
      )(),
    onSettled: () => {
      busy.current = false;
    },
  });
  const deny = useMutation({
    mutationFn: (reason: string) => ask(api.POST("/api/v1/requests/{id}/deny", { ...path, body: { reason } })),
    onSuccess: done("Denied. They read your reason."),
  });
  const yes = (): void => {
    if (busy.current || denying || Date.now() - since < SETTLE_MS) return;
    busy.current = true;
    approve.mutate();
  };
  const options = choices(request.duration).map((value) => ({ value, label: spelled(value) }));
  useKeys({ a: yes, d: () => setDenying(true), s: () => setDuration(shorter(request.duration, duration)) });
  return (
    <div className="decide">
      {approve.error && <ProblemNotice error={approve.error} />}
      {options.length > 1 && (
        <div className="line">
          <span className="muted">
            For <kbd>s</kbd>
          </span>
          <Chips label="For how long" value={duration} options={options} onChange={setDuration} />
        </div>
      )}
      <div className="buttons">
        <button type="button" className="deny big" onClick={() => setDenying(true)} disabled={approve.isPending}>
          Deny… <kbd>d</kbd>
        </button>
        <button type="button" className="primary big" onClick={yes} disabled={approve.isPending}>
          {approve.isPending ? "Approving…" : `Approve for ${spelled(duration)}`} <kbd>a</kbd>
        </button>
      </div>
      <Deny open={denying} onClose={() => setDenying(false)} what="the request" error={deny.error} busy={deny.isPending} onDeny={deny.mutate} />
    </div>
  );
}

/** The next shorter choice; after the shortest, all that is asked for. */
function shorter(most: string, than: string): string {
  const all = choices(most);
  const at = all.indexOf(than);
  return all[at > 0 ? at - 1 : all.length - 1] ?? most;
}
