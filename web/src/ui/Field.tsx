import { useId, type ReactNode } from "react";

interface Props {
  label: string;
  hint?: ReactNode;
  error?: string | null;
  children: (props: { id: string; "aria-describedby": string | undefined; "aria-invalid": boolean }) => ReactNode;
}

/** A control with its name, what it is for, and what is wrong with it. */
export function Field({ label, hint, error, children }: Props): ReactNode {
  const id = useId();
  const about = `${id}-about`;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, "aria-describedby": (hint || error) ? about : undefined, "aria-invalid": Boolean(error) })}
      {(hint || error) && (
        <p id={about} className={error ? "error" : "muted"}>
          {error ?? hint}
        </p>
      )}
    </div>
  );
}
