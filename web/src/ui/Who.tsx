import type { ReactNode } from "react";
import type { PrincipalRef } from "../api/types";
import { Text } from "./Text";

/** Who: the colour of an agent is never that of a person. */
export function Who({ who, behalf }: { who: PrincipalRef; behalf?: PrincipalRef | null | undefined }): ReactNode {
  return (
    <span className="who">
      <span className={`avatar ${who.kind}`} aria-hidden="true">
        {who.kind === "agent" ? "⌁" : who.name.charAt(0).toUpperCase()}
      </span>
      <span>
        <strong>
          <Text>{who.name}</Text>
        </strong>
        <span className="muted"> {who.kind === "agent" ? "agent" : "person"}</span>
        {behalf && (
          <>
            <span className="muted"> for </span>
            <strong>
              <Text>{behalf.name}</Text>
            </strong>
          </>
        )}
      </span>
    </span>
  );
}
