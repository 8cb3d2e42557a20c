import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** The header that the control plane asks of a call that comes with a cookie: no form of another site can send it. */
export const api = createClient<paths>({ headers: { "x-postern-console": "1" } });

/** What the API says when it does not do what was asked. */
export class Problem extends Error {
  readonly code: Schemas["ErrorCode"] | "unreachable";
  readonly detail: string | null;
  readonly hint: string | null;
  readonly field: string | null;
  /** Where the browser goes to make it possible. */
  readonly continueAt: string | null;
  readonly problems: Schemas["PolicyProblem"][];

  constructor(error: Omit<Schemas["ApiError"], "code"> & { code: Problem["code"] }) {
    super(error.message);
    this.code = error.code;
    this.detail = error.detail ?? null;
    this.hint = error.hint ?? null;
    this.field = error.field ?? null;
    this.continueAt = error.continue_at ?? null;
    this.problems = error.problems ?? [];
  }
}

const UNREACHABLE = {
  code: "unreachable",
  message: "The control plane cannot be reached.",
  hint: "Look at your connection; this page tries again by itself.",
} as const;

interface Answer<T> {
  data?: T;
  error?: unknown;
}

/** The data of an answer; throws a `Problem` when there is none. */
export async function ask<T>(call: Promise<Answer<T>>): Promise<T> {
  const answer = await call.catch(() => {
    throw new Problem(UNREACHABLE);
  });
  if (answer.error === undefined) return answer.data as T;
  const body = answer.error as { error?: Schemas["ApiError"] } | string;
  if (typeof body === "object" && body.error) throw new Problem(body.error);
  throw new Problem({ code: "internal", message: "The control plane gave an answer that this page does not know." });
}

/** What can be told of whatever was thrown. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem({
    code: "internal",
    message: "This page failed.",
    detail: error instanceof Error ? error.message : null,
    hint: "Load it again; if it stays so, tell whoever runs Postern.",
  });
}
