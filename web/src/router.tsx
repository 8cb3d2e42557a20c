import { createRootRoute, createRoute, createRouter, redirect } from "@tanstack/react-router";
import { InboxPage } from "./pages/inbox/InboxPage";
import { NotFound, Shell } from "./shell/Shell";

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound });

const home = createRoute({
  getParentRoute: () => root,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/inbox" });
  },
});

const inbox = createRoute({
  getParentRoute: () => root,
  path: "/inbox",
  validateSearch: (search): { item?: string } => (typeof search["item"] === "string" ? { item: search["item"] } : {}),
  component: InboxPage,
});

export const router = createRouter({
  routeTree: root.addChildren([home, inbox]),
  defaultPreload: "intent",
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
