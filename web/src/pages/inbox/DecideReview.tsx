import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRef, useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import type { Review } from "../../api/types";
import { Chips } from "../../ui/Chips";
import { useKeys } from "../../ui/keys";
import { ProblemNotice, sentence } from "../../ui/Notice";
import { toast } from "../../ui/toasts";
import { Deny } from "./Deny";
import { Edit } from "./Edit";
import { SETTLE_MS } from "./settle";

/** Yes to this effect, yes to so many rows, yes to another text, or no. */
export function DecideReview({ review, onDecided }: { review: Review; onDecided: () => void }): ReactNode {
  const client = useQueryClient();
  const { effect } = review.preview;
  const { not_boundable_because, editable, sql } = review.statement;
  const proposed = review.votes.find((vote) => vote.approves?.edited_sql)?.approves?.edited_sql;
  const [edited, setEdited] = useState<string | null>(null);
  const limit = useRef<HTMLInputElement>(null);
  const isOther = edited !== null && edited.trim() !== "" && edited !== sql;
  const [bound, setBound] = useState("");
  const [scope, setScope] = useState("once");
  const [denying, setDenying] = useState(false);
  const [since] = useState(Date.now);
  const busy = useRef(false);
  const path = { params: { path: { id: review.id } } };
  // What is left open is held to what was counted, where that was. Of another text nothing was.
  const counted = effect?.exact && !isOther ? effect.rows : null;
  const rows = bound.trim() === "" ? counted : Number(bound);
  const wrong = (rows !== null && !(Number.isSafeInteger(rows) && rows >= 0)) || (edited !== null && edited.trim() === "");
  const once = scope === "once" || isOther;
  const done = async (title: string): Promise<void> => {
    toast({ tone: "good", title });
    onDecided();
    await client.invalidateQueries({ queryKey: ["reviews"] });
  };
  const approve = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/reviews/{id}/approve", {
          ...path,
          body: { reason: null, max_rows: rows, edited_sql: isOther ? edited : null, for_grant: !once, free: [] },
        }),
      ),
    onSuccess: (after) => done(after.status === "pending" ? "Your approval counts. It waits for others." : "Approved. It runs now, or when it is sent again."),
    onSettled: () => {
      busy.current = false;
    },
  });
  const deny = useMutation({
    mutationFn: (reason: string) => ask(api.POST("/api/v1/reviews/{id}/deny", { ...path, body: { reason } })),
    onSuccess: () => done("Denied. They read your reason."),
  });
  const yes = (): void => {
    if (busy.current || denying || wrong || Date.now() - since < SETTLE_MS) return;
    busy.current = true;
    approve.mutate();
  };
  const edit = (): void => setEdited((now) => (now === null ? (proposed ?? sql) : null));
  const mayEdit = editable && !review.statement.sql_bytes;
  useKeys({
    a: yes,
    d: () => setDenying(true),
    b: () => limit.current?.focus(),
    ...(mayEdit && { e: edit }),
  });
  const what = isOther ? "Approve as edited" : "Approve";
  const said = rows === null || wrong ? what : `${what}${isOther ? "," : ""} ${rows.toLocaleString()} ${rows === 1 ? "row" : "rows"}`;
  return (
    <div className="decide">
      {approve.error && <ProblemNotice error={approve.error} />}
      {edited !== null && <Edit value={edited} onChange={setEdited} onLeave={() => setEdited(null)} />}
      <div className="line">
        {not_boundable_because ? (
          <span className="muted">It cannot be held to a number of rows: {sentence(not_boundable_because)}</span>
        ) : (
          <label>
            At most <kbd>b</kbd>{" "}
            <input
              ref={limit}
              className="short"
              inputMode="numeric"
              placeholder={counted === null ? "any" : String(counted)}
              value={bound}
              aria-invalid={wrong}
              onChange={(event) => setBound(event.target.value)}
              onKeyDown={(event) => {
                if (event.key === "Enter") event.currentTarget.blur();
              }}
            />{" "}
            rows
          </label>
        )}
        {!isOther && (
          <Chips
            label="How often"
            value={scope}
            options={[
              { value: "once", label: "Once" },
              { value: "grant", label: "For this grant" },
            ]}
            onChange={setScope}
          />
        )}
        {mayEdit && (
          <button type="button" aria-expanded={edited !== null} onClick={edit}>
            Edit… <kbd>e</kbd>
          </button>
        )}
      </div>
      <div className="buttons">
        <button type="button" className="deny big" onClick={() => setDenying(true)} disabled={approve.isPending}>
          Deny… <kbd>d</kbd>
        </button>
        <button type="button" className="primary big" onClick={yes} disabled={approve.isPending || wrong}>
          {approve.isPending ? "Approving…" : `${said}${once ? ", once" : ""}`} <kbd>a</kbd>
        </button>
      </div>
      <Deny open={denying} onClose={() => setDenying(false)} what="the statement" error={deny.error} busy={deny.isPending} onDeny={deny.mutate} />
    </div>
  );
}
