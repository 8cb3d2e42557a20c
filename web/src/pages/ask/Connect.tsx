import { useMutation } from "@tanstack/react-query";
import { useEffect, useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import type { Credential, Grant } from "../../api/types";
import { Chips } from "../../ui/Chips";
import { Copy } from "../../ui/Copy";
import { Dialog } from "../../ui/Dialog";
import { ProblemNotice } from "../../ui/Notice";
import { commands, ROOT_FILE } from "./commands";

/** The secret of a grant: made when asked for, shown this once, and gone from the page when this is closed. */
export function Connect({ grant, onClose }: { grant: Grant; onClose: () => void }): ReactNode {
  const make = useMutation({
    gcTime: 0,
    mutationFn: () =>
      ask(api.POST("/api/v1/grants/{id}/credentials", { params: { path: { id: grant.id } }, body: { use: "url" } })),
  });
  const { reset } = make;
  useEffect(() => reset, [reset]);
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Connect: ${grant.role} on ${grant.connection}`}
      description="Any PostgreSQL client connects with the grant's own secret. It is shown this once. Making one ends the one before; sessions that are open go on."
    >
      {make.error && <ProblemNotice error={make.error} />}
      {make.data ? (
        <Commands credential={make.data} />
      ) : (
        <div className="buttons">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="button" className="primary" onClick={() => make.mutate()} disabled={make.isPending}>
            {make.isPending ? "Making it…" : "Make the secret"}
          </button>
        </div>
      )}
    </Dialog>
  );
}

function Commands({ credential }: { credential: Credential }): ReactNode {
  const all = commands(credential);
  const [chosen, setChosen] = useState("psql");
  const command = all.find((command) => command.value === chosen);
  const text = command?.text ?? "";
  return (
    <>
      <Chips label="For which client" value={chosen} options={all} onChange={setChosen} />
      <figure className="sql">
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach */}
        <pre tabIndex={0} aria-label="Command">
          <code>{text}</code>
        </pre>
        <figcaption>
          <span className="grow" />
          <Copy text={text} />
        </figcaption>
      </figure>
      {command?.note && <p>{command.note}</p>}
      {credential.root_certificate_pem && !command?.note && (
        <p>
          Save the gateway&apos;s root certificate as <code>{ROOT_FILE}</code> first:{" "}
          <Copy text={credential.root_certificate_pem} label="Copy the certificate" />
        </p>
      )}
    </>
  );
}
