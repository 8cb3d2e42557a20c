import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { api, ask } from "../../api/client";
import type { Request } from "../../api/types";
import { spelled } from "../../ui/duration";
import { ProblemNotice, sentence } from "../../ui/Notice";
import { Text } from "../../ui/Text";
import { Countdown, Time } from "../../ui/Time";

export function Pending({ request }: { request: Request }): ReactNode {
  const client = useQueryClient();
  const withdraw = useMutation({
    mutationFn: () => ask(api.POST("/api/v1/requests/{id}/withdraw", { params: { path: { id: request.id } } })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["requests"] }),
  });
  return (
    <article className="card grant">
      <header>
        <h3 className="lead">
          {request.role} on {request.connection} for {spelled(request.duration)}
        </h3>
        <button type="button" onClick={() => withdraw.mutate()} disabled={withdraw.isPending}>
          Withdraw
        </button>
      </header>
      <p>
        <Text>{request.reason}</Text>
      </p>
      <p className="muted">
        Asked <Time at={request.created_at} />. {sentence(request.policy_reason)} Unanswered, it expires in <Countdown until={request.expires_at} />.
      </p>
      {withdraw.error && <ProblemNotice error={withdraw.error} />}
    </article>
  );
}
