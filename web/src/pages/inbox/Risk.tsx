import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { connections } from "../../api/queries";

/** How much could go wrong by this access role, as far as it is known. */
export function Risk({ connection, role }: { connection: string; role: string }): ReactNode {
  const known = useQuery(connections).data?.find((one) => one.name === connection);
  const its = known?.roles.find((one) => one.name === role);
  if (!known || !its) return null;
  return (
    <p className="badges">
      {its.read_only ? <span className="badge good">only reads</span> : <span className="badge danger">can change data</span>}
      {its.mode === "shared" && <span className="badge warn">shared login</span>}
      {known.freeze && <span className="badge warn">frozen: nothing is changed there</span>}
      {known.status !== "up" && <span className="badge warn">not reachable now</span>}
    </p>
  );
}
