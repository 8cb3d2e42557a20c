import { useState, type ReactNode, type SyntheticEvent } from "react";
import { Dialog } from "../../ui/Dialog";
import { Field } from "../../ui/Field";
import { ProblemNotice } from "../../ui/Notice";

interface Props {
  open: boolean;
  onClose: () => void;
  what: string;
  error: unknown;
  busy: boolean;
  onDeny: (reason: string) => void;
}

/** A no needs its reason: an agent corrects itself by it. */
export function Deny({ open, onClose, what, error, busy, onDeny }: Props): ReactNode {
  const [reason, setReason] = useState("");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (reason.trim()) onDeny(reason.trim());
  };
  return (
    <Dialog open={open} onClose={onClose} title={`Deny ${what}`}>
      <form onSubmit={submit}>
        <Field label="Why" hint="Whoever asks reads this, and so does the audit.">
          {(field) => (
            <textarea
              {...field}
              rows={3}
              maxLength={1000}
              value={reason}
              onChange={(event) => setReason(event.target.value)}
              onKeyDown={(event) => {
                if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
              }}
            />
          )}
        </Field>
        {error !== null && <ProblemNotice error={error} />}
        <div className="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="deny solid" disabled={busy || !reason.trim()}>
            {busy ? "Denying…" : "Deny"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
