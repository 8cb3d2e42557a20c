import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";

export type Step = Schemas["OverviewStep"];

type Counted = Exclude<keyof Step, "at">;

interface Props {
  title: string;
  steps: Step[];
  stepSeconds: number;
  /** What is counted in all. */
  all: Counted;
  /** What of it stands out, and how it is called. */
  part?: [Counted, string];
}

/** The picture's own measures; it is stretched to the width that there is. */
const WIDTH = 600;
const HEIGHT = 120;

/** How many there were in each step: bars, and the same as a table. */
export function Bars({ title, steps, stepSeconds, all, part }: Props): ReactNode {
  const sum = (key: Counted): number => steps.reduce((total, step) => total + step[key], 0);
  const most = Math.max(1, ...steps.map((step) => step[all]));
  const wide = WIDTH / Math.max(1, steps.length);
  const high = (count: number): number => (count === 0 ? 0 : Math.max(2, (count / most) * HEIGHT));
  const spell = (step: Step): string =>
    `${spellStep(step.at, stepSeconds)}: ${step[all].toLocaleString()}${part ? `, ${step[part[0]].toLocaleString()} ${part[1]}` : ""}`;
  const total = `${sum(all).toLocaleString()}${part ? `, ${sum(part[0]).toLocaleString()} ${part[1]}` : ""}`;
  return (
    <figure className="card chart">
      <figcaption>
        <h2>{title}</h2>
        <span>
          <strong>{sum(all).toLocaleString()}</strong>
          {part && (
            <span className={sum(part[0]) > 0 ? "error" : "muted"}>
              {" "}
              {sum(part[0]).toLocaleString()} {part[1]}
            </span>
          )}
        </span>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title} over time: ${total}`}>
        {steps.map((step, at) => (
          <g key={step.at}>
            <rect className="all" x={at * wide + 1} width={Math.max(1, wide - 2)} y={HEIGHT - high(step[all])} height={high(step[all])} />
            {part && (
              <rect
                className="part"
                x={at * wide + 1}
                width={Math.max(1, wide - 2)}
                y={HEIGHT - high(step[part[0]])}
                height={high(step[part[0]])}
              />
            )}
            <rect className="over" x={at * wide} width={wide} y={0} height={HEIGHT}>
              <title>{spell(step)}</title>
            </rect>
          </g>
        ))}
      </svg>
      <p className="axis muted">
        <span>{steps[0] && spellStep(steps[0].at, stepSeconds)}</span>
        <span>most at once {most.toLocaleString()}</span>
        <span>now</span>
      </p>
      <details>
        <summary className="muted">
          As numbers<span className="hidden">: {title}</span>
        </summary>
        <ul className="numbers">
          {steps.filter((step) => step[all] > 0).map((step) => <li key={step.at}>{spell(step)}</li>)}
          {sum(all) === 0 && <li>None.</li>}
        </ul>
      </details>
    </figure>
  );
}

const HOUR = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });
/** A day is one of UTC, as it was counted. */
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });

function spellStep(at: string, stepSeconds: number): string {
  return (stepSeconds < 86_400 ? HOUR : DAY).format(new Date(at));
}
