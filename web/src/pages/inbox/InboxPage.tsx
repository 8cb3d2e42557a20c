import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { whoami } from "../../api/queries";
import type { Whoami } from "../../api/types";
import { Icon } from "../../shell/Icon";
import { Chips } from "../../ui/Chips";
import { useKeys } from "../../ui/keys";
import { useWide } from "../../ui/media";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { useDecided, useInbox, useOne, type Inbox, type Item } from "./items";
import { Notify, tell } from "./Notify";
import { Rows } from "./Rows";
import { RequestDetail } from "./RequestDetail";
import { ReviewDetail } from "./ReviewDetail";

type View = keyof Inbox | "decided";

const VIEWS: { value: View; label: string }[] = [
  { value: "waiting", label: "For me" },
  { value: "elsewhere", label: "For others" },
  { value: "decided", label: "Decided" },
];

/** What they do, as it is shown where there are keys. */
const KEYS = [
  [["j", "k"], "move"],
  [["a"], "approve"],
  [["d"], "deny"],
  [["s"], "shorter"],
  [["b"], "bound"],
  [["e"], "edit"],
] as const;

export function InboxPage(): ReactNode {
  const me = useQuery(whoami).data;
  return me ? <OfMe me={me} /> : null;
}

function OfMe({ me }: { me: Whoami }): ReactNode {
  const { inbox, error } = useInbox(me);
  const search = useSearch({ from: "/inbox" });
  const navigate = useNavigate({ from: "/inbox" });
  const wide = useWide();
  const [view, setView] = useState<View>("waiting");
  const { decided: done, error: noDone } = useDecided();
  const list = (view === "decided" ? done : inbox?.[view]) ?? [];
  const all = [...(inbox?.waiting ?? []), ...(inbox?.elsewhere ?? []), ...(done ?? [])];
  const found = all.find((item) => item.id === search.item);
  const one = useOne(search.item, !inbox || !done || found !== undefined);
  // Where there is room, something is always open; what has left the list meanwhile stays, for its outcome to be read.
  const chosen = found ?? one.item ?? (wide && search.item === undefined ? list[0] : undefined);
  const choose = (item: Item | undefined): void => {
    void navigate({ search: item ? { item: item.id } : {}, replace: wide });
  };
  const move = (by: number): void => {
    const at = list.findIndex((item) => item.id === chosen?.id);
    const next = list[at < 0 ? 0 : Math.min(Math.max(at + by, 0), list.length - 1)];
    if (next) choose(next);
  };
  useKeys({ j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1) });
  useTitle(inbox?.waiting.length ?? 0);

  if (!inbox) return <Page title="Inbox">{error ? <ProblemNotice error={error} /> : <Loading what="the inbox" />}</Page>;
  const decided = (item: Item): void => {
    const at = list.findIndex((one) => one.id === item.id);
    choose(list[at + 1] ?? list[at - 1]);
  };
  return (
    <div className={(chosen ?? one.error) && !wide ? "split open" : "split"}>
      <section className="list" aria-label="Inbox">
        <header>
          <div className="with-buttons">
            <h1>Inbox</h1>
            <Notify />
          </div>
          <Chips
            label="Which"
            value={view}
            options={VIEWS.map((one) => ({ ...one, label: withCount(one.label, one.value, inbox) }))}
            onChange={(next) => {
              setView(next as View);
              choose(undefined);
            }}
          />
        </header>
        {view === "decided" && !done ? (
          noDone ? <ProblemNotice error={noDone} /> : <Loading what="what was decided" />
        ) : list.length === 0 ? (
          <Nothing view={view} />
        ) : (
          <Rows items={list} chosen={chosen?.id} onChoose={choose} />
        )}
        {view === "decided" && list.length > 0 && (
          <p className="keys muted">
            The newest {list.length.toLocaleString()}. All there ever were are{" "}
            <Link to="/audit" search={{ type: "control", action: "request." }}>
              in the audit
            </Link>
            .
          </p>
        )}
        {wide && list.length > 0 && (
          <p className="keys muted">
            {KEYS.map(([keys, what]) => (
              <span key={what}>
                {keys.map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}{" "}
                {what}
              </span>
            ))}
          </p>
        )}
      </section>
      {(chosen ?? one.error) && (
        <section className="detail" aria-label="What is asked">
          {!wide && <h1 className="hidden">Inbox</h1>}
          {!wide && (
            <button type="button" className="quiet back" onClick={() => choose(undefined)}>
              <Icon name="back" /> Inbox
            </button>
          )}
          {!chosen ? (
            <ProblemNotice error={one.error} />
          ) : chosen.kind === "request" ? (
            <RequestDetail key={chosen.id} me={me} request={chosen.of} all={all} onDecided={() => decided(chosen)} />
          ) : (
            <ReviewDetail key={chosen.id} me={me} review={chosen.of} all={all} onDecided={() => decided(chosen)} />
          )}
        </section>
      )}
    </div>
  );
}

function withCount(label: string, view: View, found: Inbox): string {
  const count = view === "decided" ? 0 : found[view].length;
  return count === 0 ? label : `${label} ${count}`;
}

function Nothing({ view }: { view: View }): ReactNode {
  if (view === "waiting") {
    return (
      <Empty title="Nothing waits for you">
        <p>What you may decide appears here by itself: requests for access, with who asks, why, and for how long; and statements that are held until somebody agrees, with what they would change.</p>
      </Empty>
    );
  }
  return (
    <Empty title={view === "elsewhere" ? "Nothing waits for others" : "Nothing was decided yet"}>
      <p>
        {view === "elsewhere"
          ? "What you have asked for yourself is here while others decide, and what needs more reviewers than you."
          : "What was approved, denied, withdrawn or not answered in time is here."}
      </p>
    </Empty>
  );
}

/** The number in the tab's title, and a message of the system where the page is not looked at. */
function useTitle(waiting: number): void {
  const before = useRef(waiting);
  useEffect(() => {
    document.title = waiting > 0 ? `(${waiting}) Inbox · Postern` : "Inbox · Postern";
    if (waiting > before.current && document.hidden) tell("Somebody waits for your decision.");
    before.current = waiting;
  }, [waiting]);
}
