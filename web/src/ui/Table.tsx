/* eslint-disable jsx-a11y/no-redundant-roles, jsx-a11y/no-interactive-element-to-noninteractive-role -- blocks, which rows are on a narrow screen, have no roles of their own */
import type { ReactNode } from "react";

interface Props {
  label: string;
  columns: string[];
  /** Which of the columns are numbers. */
  numbers?: string[];
  /** Each with its key before its cells; the first cell names it. */
  rows: [string, ...ReactNode[]][];
}

/** On a narrow screen each row is a block, its cells with the columns' names. */
export function Table({ label, columns, numbers = [], rows }: Props): ReactNode {
  const look = (at: number): string | undefined => (numbers.includes(columns[at] ?? "") ? "num" : undefined);
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach
    <div className="table narrows" tabIndex={0} role="group" aria-label={label}>
      <table role="table">
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((column, at) => (
              <th key={column} role="columnheader" scope="col" className={look(at)}>
                {column || <span className="hidden">More</span>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map(([key, first, ...cells]) => (
            <tr key={key} role="row">
              <th role="rowheader" scope="row">
                {first}
              </th>
              {cells.map((cell, at) => (
                <td key={at} role="cell" className={look(at + 1)} data-label={columns[at + 1]}>
                  <div>{cell}</div>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
