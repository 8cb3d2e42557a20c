import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
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

/** Where people sign in. */
export const providers = queryOptions({
  queryKey: ["providers"],
  queryFn: () => ask(api.GET("/api/v1/web/providers")),
});

export const connections = queryOptions({
  queryKey: ["connections"],
  queryFn: () => ask(api.GET("/api/v1/connections")),
  refetchInterval: 15_000,
});

/** What changes is told by events; this is for what they do not tell, or where they do not come through. */
const LIVE = { refetchInterval: 30_000 } as const;

/** Requests that wait, and access that was taken in an emergency and has to be looked at. */
export const openRequests = queryOptions({
  queryKey: ["requests", "open"],
  queryFn: async () => {
    const find = (query: { status: "pending" } | { to_review: true }) => ask(api.GET("/api/v1/requests", { params: { query } }));
    return (await Promise.all([find({ status: "pending" }), find({ to_review: true })])).flat();
  },
  ...LIVE,
});

/** Statements that wait. */
export const openReviews = queryOptions({
  queryKey: ["reviews", "open"],
  queryFn: () => ask(api.GET("/api/v1/reviews", { params: { query: { status: "pending" } } })),
  ...LIVE,
});

/** The newest of all, however they stand. */
export const requests = queryOptions({
  queryKey: ["requests", "newest"],
  queryFn: () => ask(api.GET("/api/v1/requests")),
  ...LIVE,
});

export const reviews = queryOptions({
  queryKey: ["reviews", "newest"],
  queryFn: () => ask(api.GET("/api/v1/reviews")),
  ...LIVE,
});

export const request = (id: string) =>
  queryOptions({
    queryKey: ["requests", "one", id],
    queryFn: () => ask(api.GET("/api/v1/requests/{id}", { params: { path: { id } } })),
  });

export const review = (id: string) =>
  queryOptions({
    queryKey: ["reviews", "one", id],
    queryFn: () => ask(api.GET("/api/v1/reviews/{id}", { params: { path: { id } } })),
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

export const webSessions = queryOptions({
  queryKey: ["web-sessions"],
  queryFn: () => ask(api.GET("/api/v1/web/sessions")),
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

/** What I get of a connection, and why. */
export const waysIn = (name: string) =>
  queryOptions({
    queryKey: ["access", "mine", name],
    queryFn: () => ask(api.GET("/api/v1/connections/{name}/access", { params: { path: { name } } })),
    ...LIVE,
  });

/** What somebody (`agent:ci`) can reach. */
export const accessOf = (principal: string) =>
  queryOptions({
    queryKey: ["access", "of", principal],
    queryFn: () => ask(api.GET("/api/v1/principals/{principal}/access", { params: { path: { principal } } })),
    ...LIVE,
  });

/** Who can reach a connection. */
export const accessTo = (name: string) =>
  infiniteQueryOptions({
    queryKey: ["access", "to", name],
    queryFn: ({ pageParam: after }) =>
      ask(api.GET("/api/v1/connections/{name}/principals", { params: { path: { name }, query: after ? { after } : {} } })),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next ?? null,
    ...LIVE,
  });
