import { Toast } from "radix-ui";
import type { ReactNode } from "react";
import { dismiss, useToasts } from "./toasts";

/** An error stays longer: it says what to do. */
const SHOWN_MS = { good: 5_000, bad: 12_000 };

export function Toasts(): ReactNode {
  const toasts = useToasts();
  return (
    <Toast.Provider label="Message" swipeDirection="down">
      {toasts.map((one) => (
        <Toast.Root
          key={one.id}
          className={`toast ${one.tone}`}
          type={one.tone === "bad" ? "foreground" : "background"}
          duration={SHOWN_MS[one.tone]}
          onOpenChange={(open) => {
            if (!open) dismiss(one.id);
          }}
        >
          <Toast.Title>{one.title}</Toast.Title>
          {one.detail && <Toast.Description>{one.detail}</Toast.Description>}
          <Toast.Close className="quiet" aria-label="Close">
            ×
          </Toast.Close>
        </Toast.Root>
      ))}
      <Toast.Viewport className="toasts" />
    </Toast.Provider>
  );
}
