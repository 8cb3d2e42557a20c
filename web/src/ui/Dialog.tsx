import { Dialog as Radix } from "radix-ui";
import type { ReactNode } from "react";

interface Props {
  open: boolean;
  onClose: () => void;
  title: string;
  description?: ReactNode;
  children: ReactNode;
  /** At the side instead of in the middle. */
  side?: boolean;
}

/** A question that has to be answered before anything else. Radix's own backdrop would bring an inline style. */
export function Dialog({ open, onClose, title, description, children, side = false }: Props): ReactNode {
  return (
    <Radix.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Radix.Portal>
        <div className="backdrop" />
        <Radix.Content className={side ? "dialog side" : "dialog"} {...(description ? {} : { "aria-describedby": undefined })}>
          <header>
            <Radix.Title>{title}</Radix.Title>
            <Radix.Close className="quiet icon" aria-label="Close">
              ×
            </Radix.Close>
          </header>
          {description && (
            <Radix.Description asChild>
              <div className="muted">{description}</div>
            </Radix.Description>
          )}
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}
