import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import type { Grant } from "../../api/types";
import { Budget } from "../../ui/Budget";
import { ProblemNotice } from "../../ui/Notice";
import { SureButton } from "../../ui/SureButton";
import { Text } from "../../ui/Text";
import { Countdown } from "../../ui/Time";
import { toast } from "../../ui/toasts";
import { Connect } from "./Connect";

export function GrantCard({ grant }: { grant: Grant }): ReactNode {
  const client = useQueryClient();
  const [connecting, setConnecting] = useState(false);
  const revoke = useMutation({
    mutationFn: () => ask(api.POST("/api/v1/grants/{id}/revoke", { params: { path: { id: grant.id } }, body: {} })),
    onSuccess: async () => {
      toast({ tone: "good", title: "It is over. Its sessions have ended." });
      await client.invalidateQueries({ queryKey: ["grants"] });
    },
  });
  return (
    <article className="card grant">
      <header>
        <h3 className="lead">
          {grant.role} on {grant.connection}
        </h3>
        <span className="left">
          <Countdown until={grant.expires_at} /> left
        </span>
      </header>
      <p className="muted">
        <Text>{grant.reason}</Text>
      </p>
      {grant.budget && <Budget budget={grant.budget} />}
      {revoke.error && <ProblemNotice error={revoke.error} />}
      <div className="buttons">
        <SureButton busy={revoke.isPending} onSure={() => revoke.mutate()}>
          I am done
        </SureButton>
        <button type="button" className="primary" onClick={() => setConnecting(true)}>
          Connect…
        </button>
      </div>
      {connecting && <Connect grant={grant} onClose={() => setConnecting(false)} />}
    </article>
  );
}
