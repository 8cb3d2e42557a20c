import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { Empty, ProblemNotice } from "../../ui/Notice";
import { Table } from "../../ui/Table";
import { Text } from "../../ui/Text";
import { toast } from "../../ui/toasts";
import { sampleOf, spellMask, type Mask } from "./masks";
import { Shown } from "./Shown";

const WHOLE = { table: null, column: null, detector: null, sample: null };

type Column = Schemas["ScannedColumn"];

/** What else seems to hold personal or payment data, and why. Nothing of it is in force before somebody says so. */
export function Proposals({ connection }: { connection: string }): ReactNode {
  const scan = useMutation({
    mutationFn: () => ask(api.POST("/api/v1/connections/{name}/scan", { params: { path: { name: connection } }, body: WHOLE })),
  });
  return (
    <section className="group full">
      <header className="with-buttons">
        <h2>Proposed</h2>
        <button type="button" onClick={() => scan.mutate()} disabled={scan.isPending}>
          {scan.isPending ? "Looking…" : scan.data ? "Look again" : "Look for more"}
        </button>
      </header>
      {!scan.data && (
        <p className="muted">
          The connector looks at names and at some values of each table, and tells what it saw in counts: no value leaves it. That you have looked is
          recorded.
        </p>
      )}
      {scan.error && <ProblemNotice error={scan.error} />}
      {scan.data && <Found scanned={scan.data} onApplied={() => scan.mutate()} />}
    </section>
  );
}

function Found({ scanned, onApplied }: { scanned: Schemas["Scanned"]; onApplied: () => void }): ReactNode {
  const client = useQueryClient();
  const open = scanned.columns.filter((column) => column.tag && !column.tagged);
  const [left, setLeft] = useState<ReadonlySet<string>>(new Set(open.filter((one) => one.confidence === "low").map((one) => one.column)));
  const chosen = open.filter(({ column }) => !left.has(column));
  const apply = useMutation({
    mutationFn: () => {
      const tags: Record<string, string> = {};
      const masks: Record<string, Mask> = {};
      for (const { column, tag, mask, mask_is_new: isNew } of chosen) {
        if (tag) tags[column] = tag;
        if (tag && mask && isNew) masks[tag] = mask;
      }
      const document = { kind: "Connection", name: scanned.connection, tags, masks };
      // The document's form is not in the types: the control plane checks it.
      return ask(api.POST("/api/v1/apply", { body: { documents: [{ source: {}, document: document as never }], policies: [], merge: true } }));
    },
    onSuccess: async () => {
      toast({ tone: "good", title: `${chosen.length} ${chosen.length === 1 ? "column is" : "columns are"} masked from now on.` });
      await client.invalidateQueries({ queryKey: ["masking", scanned.connection] });
      onApplied();
    },
  });
  const toggle = (column: string): void => {
    const next = new Set(left);
    if (!next.delete(column)) next.add(column);
    setLeft(next);
  };
  return (
    <>
      <p className="muted" role="status">
        {scanned.tables.toLocaleString()} {scanned.tables === 1 ? "table was" : "tables were"} looked at as <Text>{scanned.login}</Text>.
        {scanned.cut && " There are more: `postern scan --table` looks at one."}
      </p>
      {open.length === 0 ? (
        <Empty title="There is nothing more to tag">
          <p>Detectors know values by their form: a column in which nothing was found may hold personal data all the same.</p>
        </Empty>
      ) : (
        <>
          <Table
            label="Proposed tags"
            columns={["Column", "Tag", "Mask", "Shows", "Evidence", "Sure"]}
            rows={open.map((one) => [
              one.column,
              <label key="column" className="with-buttons">
                <span>
                  <input type="checkbox" className="chosen" checked={!left.has(one.column)} onChange={() => toggle(one.column)} /> <Text>{one.column}</Text>{" "}
                  <span className="muted">{one.type}</span>
                </span>
              </label>,
              one.tag,
              one.mask && spellMask(one.mask),
              one.mask && <Shown key="shown" mask={one.mask} sample={sampleOf(one.tag ?? "", one.mask)} />,
              <span key="evidence" className="evidence">
                <Text>{evidence(one)}</Text>
              </span>,
              <span key="sure" className={one.confidence === "high" ? "badge good" : one.confidence === "low" ? "badge warn" : "badge"}>
                {one.confidence}
              </span>,
            ])}
          />
          {apply.error && <ProblemNotice error={apply.error} />}
          <div className="buttons">
            <button type="button" className="primary" onClick={() => apply.mutate()} disabled={apply.isPending || chosen.length === 0}>
              {apply.isPending ? "Applying…" : `Tag and mask ${chosen.length} ${chosen.length === 1 ? "column" : "columns"}`}
            </button>
          </div>
        </>
      )}
      {scanned.not_sampled.length > 0 && (
        <details>
          <summary>Of {scanned.not_sampled.length.toLocaleString()} tables no values were seen</summary>
          <ul>
            {scanned.not_sampled.map(({ table, why }) => (
              <li key={table}>
                <Text>{`${table}: ${why}`}</Text>
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

/** Why a column seems to hold what it seems to. */
function evidence({ named, values, found }: Column): string {
  const seen = found.map(({ what, whole, within, path, by_name: byName }) => {
    const where = path ? ` at ${path}` : "";
    if (byName) return `a key says ${what}${where}`;
    return `${what}${whole > 0 ? "" : " inside"}${where} in ${(whole + within).toLocaleString()} of ${values.toLocaleString()} values`;
  });
  return [named ? `its name says ${named}` : "", ...seen].filter(Boolean).join("; ");
}
