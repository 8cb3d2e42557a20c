import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { api, ask } from "../../api/client";
import { Icon } from "../../shell/Icon";
import { useWide } from "../../ui/media";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { Who } from "../../ui/Who";
import { EventDetail } from "../audit/EventDetail";
import { Events } from "../audit/Events";
import { Replay } from "./Replay";

/** The most that one search of the audit gives. */
const MOST = 10_000;

/** One session, statement by statement. */
export function SessionPage(): ReactNode {
  const { id } = useParams({ from: "/sessions/$id" });
  const { seq } = useSearch({ from: "/sessions/$id" });
  const navigate = useNavigate({ from: "/sessions/$id" });
  const wide = useWide();
  const session = useQuery({
    queryKey: ["sessions", id],
    queryFn: () => ask(api.GET("/api/v1/sessions/{id}", { params: { path: { id } } })),
  });
  const found = useQuery({
    queryKey: ["audit", "session", id],
    queryFn: () => ask(api.GET("/api/v1/audit/events", { params: { query: { session: id, type: "statement", limit: MOST } } })),
    refetchOnWindowFocus: false,
    staleTime: Infinity,
    select: (events) => events.toSorted((a, b) => (a.seq ?? 0) - (b.seq ?? 0)),
  });
  const events = found.data ?? [];
  const chosen = events.find((event) => event.seq === seq) ?? (wide && seq === undefined ? events[0] : undefined);
  const choose = (next: number | null | undefined, replace = wide): void => {
    void navigate({ search: next ? { seq: next } : {}, replace });
  };
  return (
    <div className={chosen && !wide ? "split open" : "split"}>
      <section className="list" aria-label="Statements">
        <header>
          <h1>Session</h1>
          {session.error && <ProblemNotice error={session.error} />}
          {session.data && (
            <>
              <Who who={session.data.principal} behalf={session.data.on_behalf_of} />
              <p className="muted">
                {session.data.role} on {session.data.connection}, since <Time at={session.data.started_at} />
                {session.data.ended_at && (
                  <>
                    {" "}
                    until <Time at={session.data.ended_at} relative={false} /> (<Text>{session.data.end_reason ?? "no reason is known"}</Text>)
                  </>
                )}
              </p>
            </>
          )}
          {events.length > 1 && <Replay events={events} at={chosen} onReach={(event) => choose(event.seq, true)} />}
          <button type="button" onClick={() => void found.refetch()} disabled={found.isFetching}>
            {found.isFetching ? "Looking…" : "Look again"}
          </button>
        </header>
        {found.isPending && <Loading what="statements" />}
        {found.error && <ProblemNotice error={found.error} />}
        {found.data?.length === 0 && (
          <Empty title="It has sent nothing yet">
            <p>Each statement is here within two seconds of when it was decided, with what became of it.</p>
          </Empty>
        )}
        {events.length >= MOST && <p className="keys muted">Its newest {MOST.toLocaleString()} statements; the audit has them all.</p>}
        {events.length > 0 && <Events events={events} chosen={chosen?.id} onChoose={(event) => choose(event.seq)} ofOne />}
      </section>
      {chosen && (
        <section className="detail" aria-label="Statement">
          {!wide && (
            <>
              <h1 className="hidden">Session</h1>
              <button type="button" className="quiet back" onClick={() => choose(null)}>
                <Icon name="back" /> Session
              </button>
            </>
          )}
          <EventDetail key={chosen.id} event={chosen} />
        </section>
      )}
    </div>
  );
}
