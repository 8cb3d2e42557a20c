import type { ReactNode } from "react";
import { problemOf } from "../api/client";
import { Text } from "./Text";

/** What went wrong, and what to do. */
export function ProblemNotice({ error }: { error: unknown }): ReactNode {
  const problem = problemOf(error);
  return (
    <div className="notice bad" role="alert">
      <p>
        <strong>
          <Text>{sentence(problem.message)}</Text>
        </strong>
      </p>
      {problem.detail && (
        <p>
          <Text>{problem.detail}</Text>
        </p>
      )}
      {problem.hint && (
        <p>
          <Text>{sentence(problem.hint)}</Text>
        </p>
      )}
      {problem.continueAt && (
        <p>
          <a className="button primary" href={backHere(problem.continueAt)}>
            Sign in again
          </a>
        </p>
      )}
    </div>
  );
}

/** An address at which somebody signs in, and from which they come back to this page. */
export function backHere(login: string): string {
  const page = window.location.pathname + window.location.search;
  return `${login}${login.includes("?") ? "&" : "?"}return_to=${encodeURIComponent(page)}`;
}

/** As a sentence: the API writes as PostgreSQL does, without a capital and a full stop. */
export function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?:]$/.test(capital) ? capital : `${capital}.`;
}

/** Nothing is there yet: what will be, and how it gets there. */
export function Empty({ title, children }: { title: string; children: ReactNode }): ReactNode {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Loading({ what }: { what: string }): ReactNode {
  return (
    <p className="loading muted" role="status">
      Loading {what}…
    </p>
  );
}
