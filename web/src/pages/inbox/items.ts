import { queryOptions } from "@tanstack/react-query";
import { api, ask } from "../../api/client";
import type { Request, Whoami } from "../../api/types";

/** What somebody may have to decide. */
export interface Item {
  kind: "request";
  id: string;
  request: Request;
  createdAt: string;
  pending: boolean;
}

export interface Inbox {
  /** Those that wait for whoever looks. */
  waiting: Item[];
  /** Those that wait for others, or for more of them. */
  elsewhere: Item[];
  /** The others, the newest decision first. */
  decided: Item[];
}

export function inbox(me: Whoami) {
  return queryOptions({
    queryKey: ["requests", "inbox"],
    queryFn: () => ask(api.GET("/api/v1/requests")),
    select: (requests) => sorted(me, requests),
    refetchInterval: 3_000,
  });
}

function sorted(me: Whoami, requests: Request[]): Inbox {
  const items = requests.map((request): Item => ({
    kind: "request",
    id: request.id,
    request,
    createdAt: request.created_at,
    pending: request.status === "pending",
  }));
  const pending = items.filter((item) => item.pending).sort((a, b) => b.createdAt.localeCompare(a.createdAt));
  const waiting = pending.filter((item) => whyNot(me, item.request) === null);
  return {
    waiting,
    elsewhere: pending.filter((item) => !waiting.includes(item)),
    decided: items
      .filter((item) => !item.pending)
      .sort((a, b) => (b.request.decided_at ?? b.createdAt).localeCompare(a.request.decided_at ?? a.createdAt)),
  };
}

/** Why whoever looks has nothing to decide here; null: they have. The control plane decides; this saves them a refusal. */
export function whyNot(me: Whoami, request: Request): string | null {
  if (request.status !== "pending") return null;
  const { requester, on_behalf_of, reviewer_groups, votes } = request;
  if (me.kind !== "user") return "Only people review requests.";
  if (requester.id === me.id) return "This is your own request: somebody else has to decide.";
  if (on_behalf_of?.id === me.id) return "This was asked for on your behalf: somebody else has to decide.";
  if (votes.some((vote) => vote.reviewer.id === me.id)) return "You have answered. It waits for other reviewers.";
  if (reviewer_groups.length === 0) return me.roles.includes("admin") ? null : "An admin has to decide.";
  if (reviewer_groups.some((group) => me.groups.includes(group))) return null;
  return `A member of ${reviewer_groups.join(" or ")} has to decide.`;
}
