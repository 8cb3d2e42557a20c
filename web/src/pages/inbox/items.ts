import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { openRequests, openReviews, request, requests, review, reviews } from "../../api/queries";
import type { PrincipalRef, Request, Review, Whoami } from "../../api/types";

/** What somebody may have to decide: a request for access, or a statement that waits. */
export type Item = { kind: "request"; id: string; of: Request } | { kind: "review"; id: string; of: Review };

export interface Inbox {
  /** Those that wait for whoever looks. */
  waiting: Item[];
  /** Those that wait for others, or for more of them. */
  elsewhere: Item[];
}

const ofRequest = (of: Request): Item => ({ kind: "request", id: of.id, of });
const ofReview = (of: Review): Item => ({ kind: "review", id: of.id, of });

/** Everything that there is to decide; and what kept it from being known. */
export function useInbox(me: Whoami): { inbox: Inbox | undefined; error: Error | null } {
  const access = useQuery(openRequests);
  const statements = useQuery(openReviews);
  const inbox = useMemo(
    () => (access.data && statements.data ? sorted(me, [...access.data.map(ofRequest), ...statements.data.map(ofReview)]) : undefined),
    [me, access.data, statements.data],
  );
  return { inbox, error: access.error ?? statements.error };
}

function sorted(me: Whoami, items: Item[]): Inbox {
  const pending = items.filter(isPending).sort((a, b) => held(b) - held(a) || b.of.created_at.localeCompare(a.of.created_at));
  const waiting = pending.filter((item) => whyNot(me, item) === null);
  return { waiting, elsewhere: pending.filter((item) => !waiting.includes(item)) };
}

/** What was decided lately, the newest decision first; undefined: not known yet. */
export function useDecided(): { decided: Item[] | undefined; error: Error | null } {
  const access = useQuery(requests);
  const statements = useQuery(reviews);
  const decided = useMemo(() => {
    if (!access.data || !statements.data) return undefined;
    const ended = (item: Item): string => item.of.decided_at ?? item.of.created_at;
    const items = [...access.data.map(ofRequest), ...statements.data.map(ofReview)];
    return items.filter((item) => !isPending(item)).sort((a, b) => ended(b).localeCompare(ended(a)));
  }, [access.data, statements.data]);
  return { decided, error: access.error ?? statements.error };
}

/** One that an address names, where it is in no list. */
export function useOne(id: string | undefined, listed: boolean): { item: Item | undefined; error: Error | null } {
  const wanted = id !== undefined && !listed;
  const isReview = id?.startsWith("rev_") ?? false;
  const access = useQuery({ ...request(id ?? ""), enabled: wanted && !isReview });
  const statement = useQuery({ ...review(id ?? ""), enabled: wanted && isReview });
  if (!wanted) return { item: undefined, error: null };
  return { item: access.data ? ofRequest(access.data) : statement.data && ofReview(statement.data), error: access.error ?? statement.error };
}

/** Whether somebody has to do something: decide, or look at access that was given without asking. */
export function isPending(item: Item): boolean {
  return item.of.status === "pending" || (item.kind === "request" && item.of.to_review === true);
}

/** A client that waits at this moment goes first. */
function held(item: Item): number {
  return item.kind === "review" && item.of.waiting > 0 ? 1 : 0;
}

/** Who asks. */
export function asker(item: Item): PrincipalRef {
  return item.kind === "request" ? item.of.requester : item.of.principal;
}

/**
 * Why whoever looks has nothing to decide here; null: they have. The control plane decides; this saves them a refusal.
 */
export function whyNot(me: Whoami, item: Item): string | null {
  if (!isPending(item)) return null;
  if (me.kind !== "user") return "Only people decide.";
  if (asker(item).id === me.id) return "This is your own: somebody else has to decide.";
  if (item.of.on_behalf_of?.id === me.id) return "This is done on your behalf: somebody else has to decide.";
  if (item.of.votes.some((vote) => vote.reviewer.id === me.id)) return "You have answered. It waits for others.";
  const groups = groupsOf(item);
  if (groups.length === 0 ? me.roles.includes("admin") : groups.some((group) => me.groups.includes(group))) return null;
  return `${groups.length > 0 ? `A member of ${groups.join(" or ")}` : "An admin"} has to decide.`;
}

/** The groups of which somebody has to agree; none: admins. */
function groupsOf(item: Item): string[] {
  if (item.kind === "request") return item.of.reviewer_groups;
  const { needed, escalate_to, escalated_at } = item.of;
  return [...needed.flatMap((need) => need.groups), ...(escalated_at ? escalate_to : [])];
}
