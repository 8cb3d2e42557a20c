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

/** What changes is told by events; this is for what they do not tell, or where they do not come through. */
const LIVE = { refetchInterval: 30_000 } as const;

export const requests = queryOptions({
  queryKey: ["requests"],
  queryFn: () => ask(api.GET("/api/v1/requests")),
  ...LIVE,
});

export const reviews = queryOptions({
  queryKey: ["reviews"],
  queryFn: () => ask(api.GET("/api/v1/reviews")),
  ...LIVE,
});

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

/** Of everybody, as far as whoever looks may see them. */
export const allGrants = queryOptions({
  queryKey: ["grants", "all"],
  queryFn: () => ask(api.GET("/api/v1/grants", { params: { query: { all: true } } })),
  ...LIVE,
});

export const sessions = queryOptions({
  queryKey: ["sessions"],
  queryFn: () => ask(api.GET("/api/v1/sessions")),
  ...LIVE,
});

export const policies = queryOptions({
  queryKey: ["policies"],
  queryFn: () => ask(api.GET("/api/v1/policies")),
});

export const users = queryOptions({
  queryKey: ["users"],
  queryFn: () => ask(api.GET("/api/v1/users")),
});

export const agents = queryOptions({
  queryKey: ["agents"],
  queryFn: () => ask(api.GET("/api/v1/agents")),
});

export const groups = queryOptions({
  queryKey: ["groups"],
  queryFn: () => ask(api.GET("/api/v1/groups")),
});

export const tokens = queryOptions({
  queryKey: ["tokens"],
  queryFn: () => ask(api.GET("/api/v1/tokens")),
});

/** Connectors, then gateways. */
export const parts = queryOptions({
  queryKey: ["parts"],
  queryFn: async () => {
    const both = [ask(api.GET("/api/v1/connectors")), ask(api.GET("/api/v1/gateways"))];
    return (await Promise.all(both)).flat();
  },
  refetchInterval: 5_000,
});
