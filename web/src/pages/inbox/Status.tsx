import type { ReactNode } from "react";

const TONES: Record<string, string> = {
  approved: "good",
  claimed: "good",
  open: "good",
  denied: "danger",
  revoked: "danger",
  pending: "warn",
};

/** Where something stands: a word, and a colour beside it. */
export function Status({ of }: { of: string }): ReactNode {
  return <span className={`badge ${TONES[of] ?? ""}`}>{of}</span>;
}
