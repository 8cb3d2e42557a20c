import { Link } from "@tanstack/react-router";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import type { Whoami } from "../../api/types";
import { Text } from "../../ui/Text";
import { forget, keep, savedOf } from "./saved";
import type { AuditSearch } from "./search";

/** Searches that somebody wants to find again, kept in this browser. An address does the same for others. */
export function Saved({ me, search }: { me: Whoami; search: AuditSearch }): ReactNode {
  const [saved, setSaved] = useState(() => savedOf(me.id));
  const [name, setName] = useState("");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (!name.trim()) return;
    setSaved(keep(me.id, { name: name.trim(), search }));
    setName("");
  };
  return (
    <details className="saved">
      <summary>Saved searches{saved.length > 0 && ` (${saved.length})`}</summary>
      {saved.length > 0 && (
        <ul aria-label="Saved searches">
          {saved.map((one) => (
            <li key={one.name}>
              <Link to="/audit" search={one.search}>
                <Text>{one.name}</Text>
              </Link>
              <button type="button" className="quiet" onClick={() => setSaved(forget(me.id, one.name))}>
                Remove<span className="hidden"> {one.name}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
      <form className="line" onSubmit={submit}>
        <input aria-label="Name of this search" placeholder="Name of this search" maxLength={60} value={name} onChange={(event) => setName(event.target.value)} />
        <button type="submit" disabled={!name.trim()}>
          Save
        </button>
      </form>
      <p className="muted">They stay in this browser. Do not search for secrets: each search is on record.</p>
    </details>
  );
}
