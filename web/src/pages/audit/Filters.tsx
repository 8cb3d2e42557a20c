import { useState, type ReactNode, type SyntheticEvent } from "react";
import { Field } from "../../ui/Field";
import { LIMITS, readSearch, type AuditSearch } from "./search";

interface Props {
  search: AuditSearch;
  busy: boolean;
  onSearch: (search: AuditSearch) => void;
}

const MORE = [
  ["principal", "Person or agent"],
  ["connection", "Connection"],
  ["table", "Table (orders, or public.orders)"],
  ["action", "Action (delete; of the control plane request.approved, or request.)"],
  ["sqlstate", "SQLSTATE"],
] as const;

/** What to look for. Nothing is searched before it is asked for. */
export function Filters({ search, busy, onSearch }: Props): ReactNode {
  const [wanted, setWanted] = useState(search);
  const set = (key: keyof AuditSearch, value: string): void => {
    const rest = Object.entries(wanted).filter(([other]) => other !== key);
    setWanted(readSearch(Object.fromEntries(value ? [...rest, [key, value]] : rest)));
  };
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    onSearch(wanted);
  };
  const narrowed = MORE.some(([key]) => search[key]) || Boolean(search.decision ?? search.outcome ?? search.since ?? search.limit);
  return (
    <form className="filters" onSubmit={submit} role="search">
      <div className="line">
        <input
          type="search"
          aria-label="Part of the statement, subject or detail"
          placeholder="Text in a statement or detail"
          value={wanted.text ?? ""}
          onChange={(event) => set("text", event.target.value)}
        />
        <button type="submit" className="primary" disabled={busy}>
          Search
        </button>
      </div>
      <div className="line">
        <select aria-label="Type" value={wanted.type ?? "statement"} onChange={(event) => set("type", event.target.value)}>
          <option value="statement">Statements</option>
          <option value="session">Sessions</option>
          <option value="control">Control plane</option>
          <option value="connector">Connectors</option>
          <option value="all">Everything</option>
        </select>
        <select aria-label="Since" value={wanted.since ?? ""} onChange={(event) => set("since", event.target.value)}>
          <option value="">Any time</option>
          <option value="hour">Last hour</option>
          <option value="day">Last day</option>
          <option value="week">Last week</option>
        </select>
      </div>
      <details open={narrowed}>
        <summary>More</summary>
        <div className="more">
          {MORE.map(([key, label]) => (
            <Field key={key} label={label}>
              {(field) => <input {...field} value={wanted[key] ?? ""} onChange={(event) => set(key, event.target.value)} />}
            </Field>
          ))}
          <Field label="Decision">
            {(field) => (
              <select {...field} value={wanted.decision ?? ""} onChange={(event) => set("decision", event.target.value)}>
                <option value="">Any</option>
                <option value="allow">Allowed</option>
                <option value="deny">Denied</option>
              </select>
            )}
          </Field>
          <Field label="Outcome">
            {(field) => (
              <select {...field} value={wanted.outcome ?? ""} onChange={(event) => set("outcome", event.target.value)}>
                <option value="">Any</option>
                {["ok", "error", "skipped", "prepared", "unknown", "running"].map((outcome) => (
                  <option key={outcome}>{outcome}</option>
                ))}
              </select>
            )}
          </Field>
          <Field label="The newest">
            {(field) => (
              <select {...field} value={wanted.limit ?? 100} onChange={(event) => set("limit", event.target.value)}>
                {LIMITS.map((limit) => (
                  <option key={limit} value={limit}>
                    {limit.toLocaleString()}
                  </option>
                ))}
              </select>
            )}
          </Field>
        </div>
      </details>
    </form>
  );
}
