import { createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from "@tanstack/react-router";
import { client } from "./api/cache";
import { whoami } from "./api/queries";
import { readSearch } from "./pages/audit/search";
import { RANGES, type Range } from "./pages/overview/ranges";
import { InboxPage } from "./pages/inbox/InboxPage";
import { NotFound, Shell } from "./shell/Shell";

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound });

const home = createRoute({
  getParentRoute: () => root,
  path: "/",
  beforeLoad: async () => {
    const me = await client.query({ ...whoami, staleTime: "static" }).catch(() => null);
    throw redirect({ to: me && me.roles.length === 0 ? "/ask" : "/inbox" });
  },
});

const inbox = createRoute({
  getParentRoute: () => root,
  path: "/inbox",
  validateSearch: (search): { item?: string } => (typeof search["item"] === "string" ? { item: search["item"] } : {}),
  component: InboxPage,
});

// As messages name a review.
const review = createRoute({
  getParentRoute: () => root,
  path: "/reviews/$id",
  beforeLoad: ({ params }) => {
    throw redirect({ to: "/inbox", search: { item: params.id }, replace: true });
  },
});

const ask = createRoute({
  getParentRoute: () => root,
  path: "/ask",
  validateSearch: (search): { connection?: string; role?: string } => ({
    ...(typeof search["connection"] === "string" && { connection: search["connection"] }),
    ...(typeof search["role"] === "string" && { role: search["role"] }),
  }),
  component: lazyRouteComponent(() => import("./pages/ask/AskPage"), "AskPage"),
});

const sessions = createRoute({
  getParentRoute: () => root,
  path: "/sessions",
  component: lazyRouteComponent(() => import("./pages/sessions/SessionsPage"), "SessionsPage"),
});

const session = createRoute({
  getParentRoute: () => root,
  path: "/sessions/$id",
  validateSearch: (search): { seq?: number } => (typeof search["seq"] === "number" ? { seq: search["seq"] } : {}),
  component: lazyRouteComponent(() => import("./pages/sessions/SessionPage"), "SessionPage"),
});

const audit = createRoute({
  getParentRoute: () => root,
  path: "/audit",
  validateSearch: readSearch,
  component: lazyRouteComponent(() => import("./pages/audit/AuditPage"), "AuditPage"),
});

const overview = createRoute({
  getParentRoute: () => root,
  path: "/overview",
  validateSearch: (search): { range?: Range } => {
    const range = RANGES.find((one) => one === search["range"]);
    return range ? { range } : {};
  },
  component: lazyRouteComponent(() => import("./pages/overview/OverviewPage"), "OverviewPage"),
});

const masking = createRoute({
  getParentRoute: () => root,
  path: "/masking",
  validateSearch: (search): { connection?: string } => (typeof search["connection"] === "string" ? { connection: search["connection"] } : {}),
  component: lazyRouteComponent(() => import("./pages/masking/MaskingPage"), "MaskingPage"),
});

const policies = createRoute({
  getParentRoute: () => root,
  path: "/policies",
  validateSearch: (search): { file?: string } => (typeof search["file"] === "string" ? { file: search["file"] } : {}),
  component: lazyRouteComponent(() => import("./pages/policies/PoliciesPage"), "PoliciesPage"),
});

const connections = createRoute({
  getParentRoute: () => root,
  path: "/connections",
  component: lazyRouteComponent(() => import("./pages/connections/ConnectionsPage"), "ConnectionsPage"),
});

const people = createRoute({
  getParentRoute: () => root,
  path: "/people",
  component: lazyRouteComponent(() => import("./pages/people/PeoplePage"), "PeoplePage"),
});

const principal = createRoute({
  getParentRoute: () => root,
  path: "/people/$principal",
  component: lazyRouteComponent(() => import("./pages/access/PrincipalPage"), "PrincipalPage"),
});

const connectionPeople = createRoute({
  getParentRoute: () => root,
  path: "/connections/$name/people",
  component: lazyRouteComponent(() => import("./pages/access/ConnectionPeoplePage"), "ConnectionPeoplePage"),
});

// As `postern login` names it.
const device = createRoute({
  getParentRoute: () => root,
  path: "/device",
  validateSearch: (search): { code?: string } => (typeof search["code"] === "string" ? { code: search["code"] } : {}),
  component: lazyRouteComponent(() => import("./pages/device/DevicePage"), "DevicePage"),
});

export const router = createRouter({
  routeTree: root.addChildren([
    ...[home, inbox, review, ask, sessions, session, audit, overview, policies, masking],
    ...[connections, connectionPeople, people, principal, device],
  ]),
  defaultPreload: "intent",
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
