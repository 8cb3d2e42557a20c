import type { ReactNode } from "react";
import type { Schemas } from "../api/client";

const ACCOUNTS = [
  ["statements", "Statements"],
  ["rows_read", "Rows read"],
  ["rows_written", "Rows written"],
  ["bytes_out", "Bytes"],
] as const;

/** What a grant may use up, and what is left of it. */
export function Budget({ budget }: { budget: Schemas["GrantBudget"] }): ReactNode {
  return (
    <ul className="budget">
      {ACCOUNTS.map(([key, label]) => {
        const account = budget[key];
        return (
          account && (
            <li key={key}>
              <span>
                {label}: {account.left.toLocaleString()} of {account.total.toLocaleString()} left
              </span>
              <progress aria-label={`${label} used`} max={account.total} value={account.used} />
            </li>
          )
        );
      })}
    </ul>
  );
}
