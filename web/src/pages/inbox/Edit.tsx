import { useEffect, useRef, type ReactNode } from "react";
import { Field } from "../../ui/Field";

interface Props {
  value: string;
  onChange: (text: string) => void;
  onLeave: () => void;
}

/** Another text, to run in the place of the one that waits. */
export function Edit({ value, onChange, onLeave }: Props): ReactNode {
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => area.current?.focus(), []);
  return (
    <Field
      label="Run this instead"
      hint="Both texts stay on record. What was counted is not what runs: say how many rows it may change. Escape leaves it as it was sent."
      error={value.trim() === "" ? "There is nothing to run." : null}
    >
      {(field) => (
        <textarea
          {...field}
          ref={area}
          className="mono"
          rows={4}
          spellCheck={false}
          value={value}
          onChange={(event) => onChange(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Escape") onLeave();
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.blur();
          }}
        />
      )}
    </Field>
  );
}
