import { queryOptions } from "@tanstack/react-query";
import { api, ask, Problem } from "./client";

/** Who is signed in; null: nobody. */
export const whoami = queryOptions({
  queryKey: ["whoami"],
  queryFn: async () => {
    try {
      return await ask(api.GET("/api/v1/whoami"));
    } catch (error) {
      if (error instanceof Problem && error.code === "unauthenticated") return null;
      throw error;
    }
  },
  staleTime: 60_000,
});

export const connections = queryOptions({
  queryKey: ["connections"],
  queryFn: () => ask(api.GET("/api/v1/connections")),
  refetchInterval: 15_000,
});

/** How often what concerns whoever looks is brought up to date, while they look. */
const LIVE = { refetchInterval: 3_000 } as const;

export const myRequests = queryOptions({
  queryKey: ["requests", "mine"],
  queryFn: () => ask(api.GET("/api/v1/requests", { params: { query: { mine: true } } })),
  ...LIVE,
});

export const grants = queryOptions({
  queryKey: ["grants"],
  queryFn: () => ask(api.GET("/api/v1/grants")),
  ...LIVE,
});

export const sessions = queryOptions({
  queryKey: ["sessions"],
  queryFn: () => ask(api.GET("/api/v1/sessions")),
  ...LIVE,
});
