import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import { openReviews } from "../../api/queries";
import { ProblemNotice } from "../../ui/Notice";
import { Sql } from "../../ui/Sql";
import { Elapsed } from "../../ui/Time";

/**
 * What runs in a session at this moment, and what waits for people. To look is a search of the audit, and recorded. What
 * else can be done stands beside it.
 */
export function Running({ session, children }: { session: string; children: ReactNode }): ReactNode {
  const held = useQuery(openReviews).data?.filter((review) => review.session_id === session) ?? [];
  const [wanted, setWanted] = useState(false);
  const found = useQuery({
    queryKey: ["audit", "running", session],
    queryFn: () => ask(api.GET("/api/v1/audit/events", { params: { query: { session, outcome: "running", type: "statement", limit: 5 } } })),
    enabled: wanted,
    refetchOnWindowFocus: false,
    staleTime: Infinity,
  });
  const look = (): void => {
    if (wanted) void found.refetch();
    setWanted(true);
  };
  return (
    <div className="group">
      {held.map((review) => (
        <p key={review.id} className="notice warn">
          A {review.statement.tag} waits for people, for <Elapsed since={review.created_at} />:{" "}
          <Link to="/inbox" search={{ item: review.id }}>
            look at it
          </Link>
        </p>
      ))}
      {found.data?.length === 0 && <p className="muted">Nothing runs at the moment.</p>}
      {found.data?.map((event) => (
        <div key={event.id}>
          <p className="muted">
            Runs for <Elapsed since={event.at} />
          </p>
          <Sql text={event.sql ?? ""} bare />
        </div>
      ))}
      {found.error && <ProblemNotice error={found.error} />}
      <div className="buttons">
        <button type="button" onClick={look} disabled={found.isFetching}>
          {found.isFetching ? "Looking…" : wanted ? "Look again" : "What runs now"}
        </button>
        {children}
      </div>
    </div>
  );
}
