import type { Whoami } from "../api/types";
import type { IconName } from "./Icon";

interface Page {
  to: "/inbox" | "/ask" | "/sessions" | "/audit" | "/overview" | "/policies" | "/masking" | "/connections" | "/people";
  label: string;
  icon: IconName;
  /** Whether the number of what waits stands beside it. */
  counted?: boolean;
  /** Whether there is anything on it for whoever this is. */
  for: (me: Whoami) => boolean;
}

/** What tells of everybody is for those who may know of everybody. */
export function readsAll(me: Whoami): boolean {
  return me.roles.some((role) => role === "admin" || role === "auditor");
}

export const PAGES: Page[] = [
  { to: "/inbox", label: "Inbox", icon: "inbox", counted: true, for: (me) => me.kind === "user" },
  { to: "/ask", label: "Ask", icon: "key", for: () => true },
  { to: "/sessions", label: "Sessions", icon: "live", for: () => true },
  { to: "/audit", label: "Audit", icon: "search", for: () => true },
  { to: "/overview", label: "Overview", icon: "chart", for: readsAll },
  { to: "/policies", label: "Policies", icon: "shield", for: readsAll },
  { to: "/masking", label: "Masking", icon: "mask", for: (me) => me.roles.includes("admin") },
  { to: "/connections", label: "Connections", icon: "database", for: (me) => me.roles.includes("admin") },
  { to: "/people", label: "People", icon: "people", for: (me) => me.kind === "user" },
];
