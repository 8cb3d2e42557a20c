import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { connections } from "../../api/queries";
import { Chips } from "../../ui/Chips";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { Table } from "../../ui/Table";
import { Text } from "../../ui/Text";
import { sampleOf, spellMask } from "./masks";
import { Proposals } from "./Proposals";
import { Shown } from "./Shown";
import { TryMask } from "./TryMask";

export function MaskingPage(): ReactNode {
  const found = useQuery(connections);
  const { connection } = useSearch({ from: "/masking" });
  const navigate = useNavigate({ from: "/masking" });
  const names = (found.data ?? []).map(({ name }) => name);
  const chosen = names.find((name) => name === connection) ?? names[0];
  return (
    <Page
      title="Masking"
      aside={
        chosen &&
        names.length > 1 && (
          <Chips
            label="Connection"
            value={chosen}
            options={names.map((value) => ({ value, label: value }))}
            onChange={(next) => void navigate({ search: { connection: next }, replace: true })}
          />
        )
      }
    >
      {found.isPending && <Loading what="connections" />}
      {found.error && <ProblemNotice error={found.error} />}
      {chosen && <OfConnection key={chosen} name={chosen} />}
      {found.data?.length === 0 && (
        <Empty title="There is no connection yet">
          <p>
            What is masked is said for each connection. One is described in a file, and applied with <code>postern apply</code>.
          </p>
        </Empty>
      )}
      <TryMask />
    </Page>
  );
}

function OfConnection({ name }: { name: string }): ReactNode {
  const found = useQuery({
    queryKey: ["masking", name],
    queryFn: () => ask(api.GET("/api/v1/connections/{name}/masking", { params: { path: { name } } })),
  });
  if (found.isPending) return <Loading what="tags and masks" />;
  if (!found.data) return <ProblemNotice error={found.error} />;
  return (
    <>
      <Tagged of={found.data} />
      <Proposals connection={name} />
    </>
  );
}

/** What is masked now, and what is shown in its place. */
function Tagged({ of }: { of: Schemas["MaskedConnection"] }): ReactNode {
  const tagged = Object.entries(of.tags);
  return (
    <section className="group full">
      <h2>
        Masked on <Text>{of.connection}</Text>
      </h2>
      {tagged.length === 0 ? (
        <Empty title="Nothing is masked here">
          <p>A column gets a tag, and the tag a mask. Whoever no policy lets see the values gets what the mask makes of them. Look for columns below.</p>
        </Empty>
      ) : (
        <Table
          label="Masked columns"
          columns={["Column", "Tag", "Mask", "Shows", "May be compared"]}
          rows={tagged.map(([column, tag]) => {
            const masking = of.masks[tag];
            return [
              column,
              <Text key="column">{column}</Text>,
              <Text key="tag">{tag}</Text>,
              masking ? spellMask(masking.mask) : <span key="none" className="badge warn">none</span>,
              masking && <Shown key="shown" mask={masking.mask} sample={sampleOf(tag, masking.mask)} />,
              masking?.compare ?? "as its type lets it",
            ];
          })}
        />
      )}
      <p className="muted">
        What is shown is made of made-up values, by the code that masks real ones; those never leave the connector. Tags and masks are changed in files,
        with <code>postern apply</code>.
      </p>
    </section>
  );
}
