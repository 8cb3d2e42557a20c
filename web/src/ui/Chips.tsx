import { ToggleGroup } from "radix-ui";
import type { ReactNode } from "react";

interface Props {
  label: string;
  value: string;
  options: { value: string; label: string }[];
  onChange: (value: string) => void;
}

/** One of a few. */
export function Chips({ label, value, options, onChange }: Props): ReactNode {
  return (
    <ToggleGroup.Root type="single" className="chips" aria-label={label} value={value} onValueChange={(next) => next && onChange(next)}>
      {options.map((option) => (
        <ToggleGroup.Item key={option.value} value={option.value}>
          {option.label}
        </ToggleGroup.Item>
      ))}
    </ToggleGroup.Root>
  );
}
