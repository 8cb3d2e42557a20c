import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";

const OUTCOMES: Record<Schemas["PolicyOutcome"], [string, string]> = {
  allowed: ["good", "runs"],
  held: ["warn", "needs a review"],
  denied: ["danger", "denied"],
  not_understood: ["danger", "not understood"],
};

export function Outcome({ of }: { of: Schemas["PolicyOutcome"] }): ReactNode {
  const [tone, word] = OUTCOMES[of];
  return <span className={`badge ${tone}`}>{word}</span>;
}
