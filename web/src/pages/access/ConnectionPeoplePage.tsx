import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { accessTo } from "../../api/queries";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { Text } from "../../ui/Text";
import { Who } from "../../ui/Who";
import { Ways } from "./Ways";

/** Who can reach a connection, and why. */
export function ConnectionPeoplePage(): ReactNode {
  const { name } = useParams({ from: "/connections/$name/people" });
  const found = useInfiniteQuery(accessTo(name));
  const everybody = found.data?.pages.flatMap((page) => page.principals) ?? [];
  const rows = everybody.flatMap(({ principal, roles }) =>
    roles.map((way) => ({
      key: `${principal.id}/${way.role}`,
      first: (
        <Link to="/people/$principal" params={{ principal: `${principal.kind}:${principal.name}` }}>
          <Who who={principal} />
        </Link>
      ),
      way,
    })),
  );
  return (
    <Page
      title={
        <>
          Who can reach <Text>{name}</Text>
        </>
      }
      aside={<Link to="/connections">Connections</Link>}
    >
      {found.isPending && <Loading what="who can reach it" />}
      {found.error && <ProblemNotice error={found.error} />}
      {found.data && rows.length === 0 && (
        <Empty title="Nobody can reach it">
          <p>
            Nobody is in a group that may ask for one of its access roles, and no grant is open. Name groups by <code>groups</code> in its document.
          </p>
        </Empty>
      )}
      {rows.length > 0 && (
        <section className="group full">
          <Ways label={`Who can reach ${name}`} first="Who" rows={rows} />
          <p className="muted">
            {everybody.length.toLocaleString()} {everybody.length === 1 ? "principal" : "principals"}
            {found.hasNextPage ? ", and there are more." : "."}
          </p>
          {found.hasNextPage && (
            <div className="buttons">
              <button type="button" onClick={() => void found.fetchNextPage()} disabled={found.isFetchingNextPage}>
                {found.isFetchingNextPage ? "Loading…" : "Show more"}
              </button>
            </div>
          )}
        </section>
      )}
    </Page>
  );
}
