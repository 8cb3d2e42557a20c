import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet } from "@tanstack/react-router";
import { useEffect, type ReactNode } from "react";
import { follow } from "../api/live";
import { whoami } from "../api/queries";
import { Empty, Loading, ProblemNotice } from "../ui/Notice";
import { Nav } from "./Nav";
import { SignIn } from "./SignIn";

/** What is around each page, for those who are signed in. */
export function Shell(): ReactNode {
  const me = useQuery(whoami);
  const client = useQueryClient();
  const id = me.data?.id;
  useEffect(() => (id === undefined ? undefined : follow(client)), [client, id]);
  if (me.isPending) return <Loading what="the console" />;
  if (me.data === undefined) {
    return (
      <main className="alone">
        <ProblemNotice error={me.error} />
        <button type="button" onClick={() => void me.refetch()}>
          Try again
        </button>
      </main>
    );
  }
  if (me.data === null) return <SignIn />;
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <Nav me={me.data} />
      <main id="main" tabIndex={-1}>
        <Outlet />
      </main>
    </div>
  );
}

export function NotFound(): ReactNode {
  return (
    <Empty title="There is no such page">
      <p>
        The address may be mistyped, or from another version. <Link to="/inbox">To the inbox</Link>
      </p>
    </Empty>
  );
}
