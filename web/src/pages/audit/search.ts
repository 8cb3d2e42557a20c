import type { Schemas } from "../../api/client";

export type AuditEvent = Schemas["AuditEvent"];

/** What is looked for, as it stands in the address. */
export interface AuditSearch {
  type?: "statement" | "session" | "control" | "connector" | "all";
  text?: string;
  principal?: string;
  connection?: string;
  session?: string;
  action?: string;
  table?: string;
  decision?: string;
  outcome?: string;
  sqlstate?: string;
  since?: string;
  limit?: number;
  event?: string;
}

const TEXTS = ["text", "principal", "connection", "session", "action", "table", "decision", "outcome", "sqlstate", "since", "event"] as const;
const TYPES = ["statement", "session", "control", "connector", "all"] as const;

export const LIMITS = [100, 1000, 10_000];

/** Whatever somebody has put into the address, as far as it is a search. */
export function readSearch(search: Record<string, unknown>): AuditSearch {
  const read: AuditSearch = {};
  for (const key of TEXTS) {
    const value = search[key];
    // Numbers are read as such by the router: a text of digits is a text all the same.
    if (typeof value === "string" || typeof value === "number") read[key] = String(value);
  }
  const type = TYPES.find((one) => one === search["type"]);
  if (type) read.type = type;
  const limit = Number(search["limit"]);
  if (LIMITS.includes(limit)) read.limit = limit;
  return read;
}

const HOURS: Record<string, number> = { hour: 1, day: 24, week: 168 };

/** As the API takes it; `until`: those before then. */
export function toQuery({ since, ...rest }: Omit<AuditSearch, "event" | "limit">, until: string | null) {
  const hours = since ? HOURS[since] : undefined;
  return {
    type: "statement" as const,
    ...rest,
    ...(until && { until }),
    ...(hours && { since: new Date(Date.now() - hours * 3_600_000).toISOString() }),
  };
}

/**
 * Until when to look for those that are older: to the next millisecond, which is as exact as a browser's time is. What is
 * found twice is told by its id.
 */
export function before(event: AuditEvent): string {
  return new Date(Date.parse(event.at) + 1).toISOString();
}

/** All pages as one list. */
export function joined(pages: AuditEvent[][]): AuditEvent[] {
  if (pages.length === 1) return pages[0] ?? [];
  return [...new Map(pages.flat().map((event) => [event.id, event])).values()];
}

/** One line for what happened. */
export function summary(event: AuditEvent): string {
  if (event.type === "statement") return (event.sql ?? "").replace(/\s+/g, " ");
  return [event.action, event.subject].filter(Boolean).join(" · ");
}

/** Gives somebody a file of what comes, once it is whole. */
export async function save(name: string, type: string, stream: ReadableStream<Uint8Array>): Promise<void> {
  const blob = await new Response(stream, { headers: { "content-type": type } }).blob();
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
