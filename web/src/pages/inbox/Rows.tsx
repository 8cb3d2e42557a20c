import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, type ReactNode } from "react";
import { spelled } from "../../ui/duration";
import { Countdown, Time } from "../../ui/Time";
import { Text } from "../../ui/Text";
import { Who } from "../../ui/Who";
import { Kind } from "./Kind";
import { Status } from "./Status";
import { asker, type Item } from "./items";

interface Props {
  items: Item[];
  chosen: string | undefined;
  onChoose: (item: Item) => void;
}

/** Rows that are drawn only where they are seen. */
export function Rows({ items, chosen, onChoose }: Props): ReactNode {
  const frame = useRef<HTMLDivElement>(null);
  // eslint-disable-next-line react-hooks/incompatible-library -- its functions are called while drawing, and not kept
  const rows = useVirtualizer({ count: items.length, getScrollElement: () => frame.current, estimateSize: () => 96, overscan: 8 });
  const at = items.findIndex((item) => item.id === chosen);
  useEffect(() => {
    if (at >= 0) rows.scrollToIndex(at, { align: "auto" });
  }, [at, rows]);
  return (
    <div className="rows" ref={frame}>
      <ul style={{ height: rows.getTotalSize() }}>
        {rows.getVirtualItems().map((row) => {
          const item = items[row.index];
          return (
            item && (
              <li key={item.id} style={{ transform: `translateY(${row.start}px)`, height: row.size }}>
                <Row item={item} chosen={item.id === chosen} onChoose={onChoose} />
              </li>
            )
          );
        })}
      </ul>
    </div>
  );
}

function Row({ item, chosen, onChoose }: { item: Item; chosen: boolean; onChoose: (item: Item) => void }): ReactNode {
  return (
    <button type="button" className="row" aria-current={chosen ? "true" : undefined} onClick={() => onChoose(item)}>
      <span className="first">
        <Who who={asker(item)} behalf={item.of.on_behalf_of} />
        <span className="muted">
          <Time at={item.of.created_at} />
        </span>
      </span>
      <span className="second">
        {item.kind === "request" ? (
          <>
            <strong>{item.of.role}</strong> on <strong>{item.of.connection}</strong> for {spelled(item.of.duration)}
          </>
        ) : (
          <>
            <strong>{item.of.statement.tag}</strong> on <strong>{item.of.connection}</strong>
            {item.of.preview.effect && ` · ${item.of.preview.effect.rows.toLocaleString()} rows`}
          </>
        )}
        {item.kind === "request" && <Kind of={item.of} />}
        {item.of.status === "pending" ? (
          <span className="muted">
            {" "}
            · <Countdown until={item.of.expires_at} /> left
          </span>
        ) : (
          <Status of={item.of.status} />
        )}
        {item.kind === "review" && item.of.waiting > 0 && <span className="badge warn">waits</span>}
      </span>
      <span className={item.kind === "request" ? "third muted" : "third muted mono"}>
        <Text>{item.kind === "request" ? item.of.reason : item.of.statement.sql.slice(0, 200)}</Text>
      </span>
    </button>
  );
}
