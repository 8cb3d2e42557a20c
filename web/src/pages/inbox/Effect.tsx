import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";
import { Text } from "../../ui/Text";
import { sentence } from "../../ui/Notice";

/** What a statement would do, as the database has tried it and undone it. */
export function Effect({ preview }: { preview: Schemas["Preview"] }): ReactNode {
  const { effect, fails, not_made, notes, plan } = preview;
  return (
    <section>
      <h3>What it would do</h3>
      {fails && (
        <p className="notice bad">
          It fails: <Text>{fails.message}</Text> ({fails.sqlstate})
        </p>
      )}
      {not_made && (
        <p className="notice warn">
          It was not tried: <Text>{not_made}</Text>.
        </p>
      )}
      {!effect && !fails && !not_made && <p className="muted">It was not tried before you were asked.</p>}
      {effect && (
        <>
          <p className="rows-changed">
            <strong>{effect.rows.toLocaleString()}</strong> {effect.rows === 1 ? "row" : "rows"}
            <span className="muted">{effect.exact ? " counted by trying it and undoing it" : " by estimate: it was not tried"}</span>
          </p>
          <Relations of={effect.relations} />
          {effect.samples.map((sample) => (
            <Sample key={sample.relation} sample={sample} />
          ))}
        </>
      )}
      {notes.length > 0 && (
        <ul className="notes">
          {notes.map((note) => (
            <li key={note} className="notice warn">
              <Text>{sentence(note)}</Text>
            </li>
          ))}
        </ul>
      )}
      {plan.length > 0 && (
        <details>
          <summary>The plan</summary>
          <ul>
            {plan.map((line) => (
              <li key={line}>
                <code>
                  <Text>{line}</Text>
                </code>
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

function Relations({ of }: { of: Schemas["RelationEffect"][] }): ReactNode {
  if (of.length === 0) return null;
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach
    <div className="table" tabIndex={0} role="group" aria-label="Rows by table">
      <table>
        <thead>
          <tr>
            <th scope="col">Table</th>
            <th scope="col" className="num">
              Deleted
            </th>
            <th scope="col" className="num">
              Updated
            </th>
            <th scope="col" className="num">
              Inserted
            </th>
            <th scope="col" className="num">
              Of
            </th>
          </tr>
        </thead>
        <tbody>
          {of.map((one) => (
            <tr key={one.relation}>
              <th scope="row">
                <Text>{one.relation}</Text> {one.indirect && <span className="badge warn">by cascade or trigger</span>}
              </th>
              <td className={one.deleted > 0 ? "num error" : "num"}>{count(one.deleted)}</td>
              <td className="num">{count(one.updated)}</td>
              <td className="num">{count(one.inserted)}</td>
              <td className="num muted">{typeof one.total === "number" ? `about ${one.total.toLocaleString()}` : ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function count(rows: number): string {
  return rows === 0 ? "–" : rows.toLocaleString();
}

/** Some of the rows: as they are, and as they would be. */
function Sample({ sample }: { sample: Schemas["Sample"] }): ReactNode {
  const paired = sample.before.length > 0 && sample.before.length === sample.after.length;
  const rows = paired
    ? sample.before.flatMap((row, at) => [
        { sign: "−", row, other: sample.after[at] },
        { sign: "+", row: sample.after[at] ?? [], other: row },
      ])
    : [
        ...sample.before.map((row) => ({ sign: "−", row, other: undefined })),
        ...sample.after.map((row) => ({ sign: "+", row, other: undefined })),
      ];
  return (
    <>
      <p className="muted">
        Some rows of <Text>{sample.relation}</Text>, masked as for anybody:
      </p>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach */}
      <div className="table sample" tabIndex={0} role="group" aria-label={`Rows of ${sample.relation}`}>
        <table>
          <thead>
            <tr>
              <th scope="col">
                <span className="hidden">Before or after</span>
              </th>
              {sample.columns.map((column) => (
                <th scope="col" key={column}>
                  <Text>{column}</Text>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ sign, row, other }, at) => (
              <tr key={at} className={sign === "+" ? "after" : "before-row"}>
                <th scope="row" aria-label={sign === "+" ? "after" : "before"}>
                  {sign}
                </th>
                {row.map((value, column) => (
                  <td key={column} className={other && other[column]?.text !== value.text ? "changed" : ""}>
                    {typeof value.text === "string" ? <Text>{value.text}</Text> : <i className="muted">NULL</i>}
                    {value.masked && <span className="badge good">masked</span>}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
