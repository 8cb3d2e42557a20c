import type { ReactNode } from "react";

interface Props {
  label: string;
  columns: string[];
  /** Which of the columns are numbers. */
  numbers?: string[];
  /** Each with its key before its cells; the first cell names it. */
  rows: [string, ...ReactNode[]][];
}

export function Table({ label, columns, numbers = [], rows }: Props): ReactNode {
  const look = (at: number): string | undefined => (numbers.includes(columns[at] ?? "") ? "num" : undefined);
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach
    <div className="table" tabIndex={0} role="group" aria-label={label}>
      <table>
        <thead>
          <tr>
            {columns.map((column, at) => (
              <th key={column} scope="col" className={look(at)}>
                {column || <span className="hidden">More</span>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([key, first, ...cells]) => (
            <tr key={key}>
              <th scope="row">{first}</th>
              {cells.map((cell, at) => (
                <td key={at} className={look(at + 1)}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
