import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";
import type { PrincipalRef } from "../../api/types";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";

interface Props {
  behalf: PrincipalRef | null | undefined;
  proof: Schemas["BehalfProof"] | null | undefined;
}

/** Whether there is more than an agent's word for whom it acts. */
export function Proof({ behalf, proof }: Props): ReactNode {
  if (!behalf) return null;
  if (!proof) {
    return (
      <p className="muted">
        It says itself that it acts for <Text>{behalf.name}</Text>.
      </p>
    );
  }
  return (
    <p className="muted">
      Proved by a token of <Text>{behalf.name}</Text>, exchanged with the agent’s (<Text>{proof.subject}</Text>
      {proof.issuer && (
        <>
          {" of "}
          <Text>{proof.issuer}</Text>
        </>
      )}
      ) <Time at={proof.at} />.
    </p>
  );
}
