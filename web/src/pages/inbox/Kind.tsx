import type { ReactNode } from "react";
import type { Request } from "../../api/types";

const WORDS: Record<Request["kind"] & string, string> = {
  access: "",
  extension: "longer",
  standing: "standing",
  "break-glass": "emergency",
};

/** What is asked for, where it is not simply access. */
export function Kind({ of }: { of: Request }): ReactNode {
  const word = WORDS[of.kind ?? "access"];
  return word ? <span className={of.kind === "break-glass" ? "badge danger" : "badge warn"}>{word}</span> : null;
}
