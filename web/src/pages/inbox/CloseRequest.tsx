import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { api, ask } from "../../api/client";
import type { Request } from "../../api/types";
import { Field } from "../../ui/Field";
import { ProblemNotice } from "../../ui/Notice";
import { toast } from "../../ui/toasts";

/** Access that was given at once, in an emergency: somebody else looks at it afterwards, and says what they have found. */
export function CloseRequest({ request, onDecided }: { request: Request; onDecided: () => void }): ReactNode {
  const client = useQueryClient();
  const [found, setFound] = useState("");
  const close = useMutation({
    mutationFn: () =>
      ask(api.POST("/api/v1/requests/{id}/close", { params: { path: { id: request.id } }, body: { reason: found.trim() } })),
    onSuccess: async () => {
      toast({ tone: "good", title: "Looked at, and on record." });
      onDecided();
      await client.invalidateQueries({ queryKey: ["requests"] });
    },
  });
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (found.trim()) close.mutate();
  };
  return (
    <form className="decide" onSubmit={submit}>
      <Field label="What you have found" hint="Access was given without asking. Look at what was done with it, and say whether that was right.">
        {(field) => <textarea {...field} rows={2} maxLength={1000} value={found} onChange={(event) => setFound(event.target.value)} />}
      </Field>
      {close.error && <ProblemNotice error={close.error} />}
      <div className="buttons">
        <button type="submit" className="primary big" disabled={close.isPending || !found.trim()}>
          Close the review
        </button>
      </div>
    </form>
  );
}
