import type { ReactNode } from "react";

/** Names and what they stand for; those without a value are left out. */
export function Facts({ of }: { of: [string, ReactNode][] }): ReactNode {
  return (
    <dl className="facts">
      {of
        .filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
