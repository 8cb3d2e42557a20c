import { MutationCache, QueryCache, QueryClient } from "@tanstack/react-query";
import { problemOf } from "./client";
import { whoami } from "./queries";
import type { Whoami } from "./types";

/** From now on somebody else looks, or nobody: what was known is forgotten. */
export function setWho(me: Whoami | null): void {
  client.removeQueries({ predicate: (query) => query.queryKey[0] !== whoami.queryKey[0] });
  client.setQueryData(whoami.queryKey, me);
}

/** A session that is over shows the page to sign in, wherever that is noticed. */
function noticeEnd(error: unknown): void {
  if (problemOf(error).code === "unauthenticated") setWho(null);
}

export const client: QueryClient = new QueryClient({
  queryCache: new QueryCache({ onError: noticeEnd }),
  mutationCache: new MutationCache({ onError: noticeEnd }),
  defaultOptions: {
    queries: {
      // Only what may pass is tried again.
      retry: (failures, error) => failures < 3 && ["unreachable", "unavailable", "internal"].includes(problemOf(error).code),
      staleTime: 1_000,
    },
  },
});
