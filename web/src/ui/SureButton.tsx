import { useEffect, useState, type ReactNode } from "react";

/** How long the question stands. */
const ASKED_MS = 4_000;

/** A button that has to be pressed twice: what it does cannot be undone. */
export function SureButton({ children, busy, onSure }: { children: ReactNode; busy: boolean; onSure: () => void }): ReactNode {
  const [asked, setAsked] = useState(false);
  useEffect(() => {
    if (!asked) return undefined;
    const timer = setTimeout(() => setAsked(false), ASKED_MS);
    return () => clearTimeout(timer);
  }, [asked]);
  return (
    <button
      type="button"
      className={asked ? "deny solid" : "deny"}
      disabled={busy}
      onClick={() => {
        if (asked) onSure();
        setAsked(!asked);
      }}
    >
      {children}
      {asked && " – sure?"}
    </button>
  );
}
