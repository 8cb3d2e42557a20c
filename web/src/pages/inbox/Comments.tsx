import type { ReactNode } from "react";
import type { PrincipalRef } from "../../api/types";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { Who } from "../../ui/Who";

/** What was said besides. */
export function Comments({ of }: { of: { author: PrincipalRef; text: string; at: string }[] }): ReactNode {
  if (of.length === 0) return null;
  return (
    <section>
      <h3>Comments</h3>
      <ul className="votes">
        {of.map((comment) => (
          <li key={`${comment.at}/${comment.author.id}`}>
            <Who who={comment.author} />
            <Time at={comment.at} />
            <p>
              <Text>{comment.text}</Text>
            </p>
          </li>
        ))}
      </ul>
    </section>
  );
}
