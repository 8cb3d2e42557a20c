import { useDeferredValue, useState, type ReactNode } from "react";
import { Chips } from "../../ui/Chips";
import { Field } from "../../ui/Field";
import { sampleOf, type Mask } from "./masks";
import { Shown } from "./Shown";

const MASKS: { value: string; label: string; mask: Mask }[] = [
  { value: "redact", label: "redact", mask: "redact" },
  { value: "null", label: "null", mask: "null" },
  { value: "partial", label: "partial: 4", mask: { partial: 4 } },
  { value: "email", label: "email", mask: "email" },
  { value: "hash", label: "hash", mask: "hash" },
  { value: "date_year", label: "date_year", mask: "date_year" },
  { value: "noise", label: "noise", mask: "noise" },
];

/** A mask on a value that somebody makes up. */
export function TryMask(): ReactNode {
  const [chosen, setChosen] = useState("partial");
  const [typed, setTyped] = useState<string | null>(null);
  const mask = MASKS.find(({ value }) => value === chosen)?.mask ?? "redact";
  const sample = sampleOf("card", mask);
  const value = useDeferredValue(typed ?? sample.value);
  return (
    <section className="group full">
      <h2>Try a mask</h2>
      <div className="card grant">
        <Chips
          label="Mask"
          value={chosen}
          options={MASKS}
          onChange={(next) => {
            setChosen(next);
            setTyped(null);
          }}
        />
        <Field label={`A made-up value (${sample.type})`} hint="Do not take a real one. It is recorded nowhere; a hash of it is not what any connection shows.">
          {(field) => (
            <input {...field} className="mono" maxLength={200} value={typed ?? sample.value} spellCheck={false} autoComplete="off" onChange={(event) => setTyped(event.target.value)} />
          )}
        </Field>
        <div>
          <span className="label">is shown as </span>
          <Shown mask={mask} sample={{ ...sample, value }} bare />
        </div>
      </div>
    </section>
  );
}
