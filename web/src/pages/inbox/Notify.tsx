import { useState, type ReactNode } from "react";

const KNOWN = "Notification" in window;

/** A message of the system, where somebody has said that they want them. What is asked for is not in it: screens are seen. */
export function tell(body: string): void {
  if (!KNOWN || Notification.permission !== "granted") return;
  try {
    const message = new Notification("Postern", { body, tag: "postern-inbox" });
    message.addEventListener("click", () => window.focus());
  } catch {
    // Phones' browsers have them for installed pages alone.
  }
}

/** Browsers ask whether a page may tell things; this asks for it, and only when it is pressed. */
export function Notify(): ReactNode {
  const [state, setState] = useState(KNOWN ? Notification.permission : "denied");
  if (state !== "default") return null;
  return (
    <button type="button" className="quiet" onClick={() => void Notification.requestPermission().then(setState)}>
      Notify me
    </button>
  );
}
