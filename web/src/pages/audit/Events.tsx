import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, type ReactNode } from "react";
import { useKeys } from "../../ui/keys";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { summary, type AuditEvent } from "./search";

interface Props {
  events: AuditEvent[];
  chosen: string | undefined;
  onChoose: (event: AuditEvent) => void;
  /** Of one session: who and where are the same in each row. */
  ofOne?: boolean;
}

/** Events as rows, drawn only where they are seen: a hundred thousand scroll as ten do. */
export function Events({ events, chosen, onChoose, ofOne = false }: Props): ReactNode {
  const frame = useRef<HTMLDivElement>(null);
  // eslint-disable-next-line react-hooks/incompatible-library -- its functions are called while drawing, and not kept
  const rows = useVirtualizer({ count: events.length, getScrollElement: () => frame.current, estimateSize: () => 64, overscan: 12 });
  const at = useMemo(() => events.findIndex((event) => event.id === chosen), [events, chosen]);
  useEffect(() => {
    if (at >= 0) rows.scrollToIndex(at, { align: "auto" });
  }, [at, rows]);
  const move = (by: number): void => {
    const next = events[Math.min(Math.max(at + by, 0), events.length - 1)];
    if (next) onChoose(next);
  };
  useKeys({ j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1) });
  return (
    <div className="rows" ref={frame}>
      <ul style={{ height: rows.getTotalSize() }}>
        {rows.getVirtualItems().map((row) => {
          const event = events[row.index];
          return (
            event && (
              <li key={event.id} style={{ transform: `translateY(${row.start}px)`, height: row.size }}>
                <button
                  type="button"
                  className="row event"
                  aria-current={event.id === chosen ? "true" : undefined}
                  onClick={() => onChoose(event)}
                >
                  <span className="first muted">
                    <span>
                      {ofOne ? event.seq && `#${event.seq}` : <strong>{event.principal ?? event.actor?.name ?? "Postern"}</strong>}
                      {!ofOne && event.connection && ` · ${event.connection} · ${event.role ?? ""}`}
                    </span>
                    <span>
                      <Outcome event={event} />
                      <Time at={event.at} relative={!ofOne} />
                    </span>
                  </span>
                  <span className={event.type === "statement" ? "mono" : ""}>
                    <Text>{summary(event).slice(0, 300)}</Text>
                  </span>
                </button>
              </li>
            )
          );
        })}
      </ul>
    </div>
  );
}

/** How it went, in a word. */
export function Outcome({ event }: { event: AuditEvent }): ReactNode {
  if (event.type !== "statement") return null;
  if (event.kind === "preview") return <span className="badge">tried and undone</span>;
  if (event.decision === "deny") return <span className="badge danger">denied</span>;
  if (event.outcome === "error") return <span className="badge warn">{event.sqlstate ?? "error"}</span>;
  if (event.outcome === null || event.outcome === undefined) return <span className="badge">runs</span>;
  if (event.outcome !== "ok") return <span className="badge">{event.outcome}</span>;
  const masked = event.masking?.values ?? 0;
  return (
    <>
      {masked > 0 && <span className="badge good">masked</span>}
      {event.rows !== null && event.rows !== undefined && <span className="badge">{event.rows.toLocaleString()} {event.rows === 1 ? "row" : "rows"}</span>}
    </>
  );
}
