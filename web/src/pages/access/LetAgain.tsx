import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { api, ask } from "../../api/client";
import type { PrincipalRef } from "../../api/types";
import { ProblemNotice } from "../../ui/Notice";
import { SureButton } from "../../ui/SureButton";
import { toast } from "../../ui/toasts";

/** Lifts a stop: what had ended stays ended. */
export function LetAgain({ who }: { who: PrincipalRef }): ReactNode {
  const client = useQueryClient();
  const resume = useMutation({
    mutationFn: () =>
      ask(api.POST("/api/v1/principals/{principal}/resume", { params: { path: { principal: `${who.kind}:${who.name}` } }, body: {} })),
    onSuccess: async () => {
      toast({ tone: "good", title: `${who.name} may ask for access again. What it had stays ended.` });
      await client.invalidateQueries({ queryKey: ["access"] });
    },
  });
  return (
    <>
      {resume.error && <ProblemNotice error={resume.error} />}
      <SureButton busy={resume.isPending} onSure={() => resume.mutate()}>
        Lift the stop
      </SureButton>
    </>
  );
}
