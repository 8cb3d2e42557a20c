import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo, useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import { whoami } from "../../api/queries";
import { Icon } from "../../shell/Icon";
import { useWide } from "../../ui/media";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { EventDetail } from "./EventDetail";
import { Events } from "./Events";
import { Export } from "./Export";
import { Filters } from "./Filters";
import { Saved } from "./Saved";
import { before, joined, LIMITS, toQuery, type AuditSearch } from "./search";

export function AuditPage(): ReactNode {
  const search = useSearch({ from: "/audit" });
  const navigate = useNavigate({ from: "/audit" });
  const wide = useWide();
  const { event: chosenId, ...wanted } = search;
  const { limit = LIMITS[0] ?? 100, ...filters } = wanted;
  // A search is itself recorded: it is made once, and again when somebody asks for it.
  const [asked, setAsked] = useState(0);
  const found = useInfiniteQuery({
    queryKey: ["audit", "search", wanted, asked],
    queryFn: ({ pageParam }) => ask(api.GET("/api/v1/audit/events", { params: { query: { ...toQuery(filters, pageParam), limit } } })),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => {
      const last = page.at(-1);
      return last && page.length >= limit ? before(last) : null;
    },
    staleTime: Infinity,
    refetchOnWindowFocus: false,
    placeholderData: keepPreviousData,
  });
  const me = useQuery(whoami).data;
  const pages = found.data?.pages;
  const events = useMemo(() => joined(pages ?? []), [pages]);
  const chosen = events.find((event) => event.id === chosenId) ?? (wide && chosenId === undefined ? events[0] : undefined);
  const choose = (event: string | undefined): void => {
    void navigate({ search: { ...wanted, ...(event && { event }) }, replace: wide });
  };
  return (
    <div className={chosen && !wide ? "split open" : "split"}>
      <section className="list" aria-label="Events">
        <header>
          <h1>Audit</h1>
          <Filters
            key={JSON.stringify(wanted)}
            search={wanted}
            busy={found.isFetching}
            onSearch={(next: AuditSearch) => {
              setAsked(asked + 1);
              void navigate({ search: next });
            }}
          />
          {me && <Saved key={me.id} me={me} search={wanted} />}
        </header>
        {found.isPending && <Loading what="events" />}
        {found.error && <ProblemNotice error={found.error} />}
        {pages && events.length === 0 && (
          <Empty title="Nothing was found">
            <p>Events are here within two seconds of what they record. Search for less, for a longer time, or for another type of event.</p>
          </Empty>
        )}
        {events.length > 0 && (
          <>
            <Events events={events} chosen={chosen?.id} onChoose={(event) => choose(event.id)} />
            <footer className="keys muted">
              <span>The newest {events.length.toLocaleString()}.</span>
              {found.hasNextPage && (
                <button type="button" className="quiet" onClick={() => void found.fetchNextPage()} disabled={found.isFetching}>
                  {found.isFetchingNextPage ? "Searching…" : "Older"}
                </button>
              )}
              <Export search={filters} />
            </footer>
          </>
        )}
      </section>
      {chosen && (
        <section className="detail" aria-label="Event">
          {!wide && (
            <>
              <h1 className="hidden">Audit</h1>
              <button type="button" className="quiet back" onClick={() => choose(undefined)}>
                <Icon name="back" /> Audit
              </button>
            </>
          )}
          <EventDetail key={chosen.id} event={chosen} />
        </section>
      )}
    </div>
  );
}
