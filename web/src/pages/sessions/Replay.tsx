import { useEffect, useMemo, useState, type ReactNode } from "react";
import { Chips } from "../../ui/Chips";
import { useKeys } from "../../ui/keys";
import type { AuditEvent } from "../audit/search";

/** Nobody watches somebody think: a longer pause is cut to this. */
const LONGEST_PAUSE_MS = 5_000;

const TICK_MS = 50;

const SPEEDS = ["1", "4", "16", "64"].map((value) => ({ value, label: `${value}×` }));

interface Props {
  /** In their order. */
  events: AuditEvent[];
  /** The one that is shown. */
  at: AuditEvent | undefined;
  onReach: (event: AuditEvent) => void;
}

/** The session once more, statement by statement, in its own time or faster. */
export function Replay({ events, at, onReach }: Props): ReactNode {
  const offsets = useMemo(() => offsetsOf(events), [events]);
  const total = offsets.at(-1) ?? 0;
  const shown = at ? events.indexOf(at) : 0;
  const [speed, setSpeed] = useState("1");
  const [playing, setPlaying] = useState(false);
  const [elapsed, setElapsed] = useState(0);
  const here = playing ? elapsed : (offsets[shown] ?? 0);
  useEffect(() => {
    if (!playing) return undefined;
    const timer = setTimeout(() => {
      const next = Math.min(elapsed + TICK_MS * Number(speed), total);
      setElapsed(next);
      const reached = offsets.findLastIndex((offset) => offset <= next);
      const event = events[reached];
      if (event && reached !== shown) onReach(event);
      if (next >= total) setPlaying(false);
    }, TICK_MS);
    return () => clearTimeout(timer);
  }, [playing, elapsed, speed, total, offsets, events, shown, onReach]);
  const toggle = (): void => {
    // From where it stands; at the end, once more from the beginning.
    setElapsed(here >= total ? 0 : here);
    setPlaying(!playing);
  };
  useKeys({ p: toggle });
  return (
    <div className="replay" role="group" aria-label="Replay">
      <button type="button" onClick={toggle}>
        {playing ? "Pause" : "Replay"} <kbd>p</kbd>
      </button>
      <Chips label="Speed" value={speed} options={SPEEDS} onChange={setSpeed} />
      <input
        type="range"
        aria-label="Position"
        aria-valuetext={`statement ${shown + 1} of ${events.length}`}
        min={0}
        max={events.length - 1}
        value={shown}
        onChange={(event) => {
          const next = events[Number(event.target.value)];
          setElapsed(offsets[Number(event.target.value)] ?? 0);
          if (next) onReach(next);
        }}
      />
      <span className="muted">
        {spell(here)} of {spell(total)}
      </span>
    </div>
  );
}

/** When each came, with pauses cut. */
function offsetsOf(events: AuditEvent[]): number[] {
  let offset = 0;
  return events.map((event, at) => {
    const before = events[at - 1];
    if (before) offset += Math.min(Math.max(Date.parse(event.at) - Date.parse(before.at), 0), LONGEST_PAUSE_MS);
    return offset;
  });
}

function spell(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
