import type { Schemas } from "../../api/client";

export type Mask = Schemas["Mask"];

/** As files write it: `email`, `partial: 4`. */
export function spellMask(mask: Mask): string {
  return typeof mask === "string" ? mask : `partial: ${mask.partial}`;
}

export interface Sample {
  type: Schemas["SampleType"];
  value: string;
}

/** Made-up values, by what a tag's name says that it holds. */
const SAMPLES: [RegExp, string][] = [
  [/mail/, "maria.silva@example.com"],
  [/pan|card/, "4539148803436467"],
  [/iban|account/, "DE89370400440532013000"],
  [/ssn|national/, "078-05-1120"],
  [/phone/, "+351 912 345 678"],
  [/name/, "Maria Silva"],
  [/address/, "Rua das Flores 12, Porto"],
  [/token|password|secret/, "hunter2-hunter2"],
];

/** A value that nobody has, of a type that the mask is for. */
export function sampleOf(tag: string, mask: Mask): Sample {
  if (mask === "date_year") return { type: "date", value: "1984-05-17" };
  if (mask === "noise") return { type: "numeric", value: "52000" };
  const known = SAMPLES.find(([holds]) => holds.test(tag));
  return { type: "text", value: mask === "email" ? "maria.silva@example.com" : (known?.[1] ?? "as it was written") };
}
