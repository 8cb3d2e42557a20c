import type { Schemas } from "../../api/client";

const FOLDER = "/etc/postern";

/** A gateway says its address itself: what is none has no place in a command. */
const ADDRESS = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/;

/** Where connectors reach the gateways that are up. */
export function addresses(parts: Schemas["Part"][]): string[] {
  return parts.flatMap(({ kind, attached, revoked_at: revoked, connector_address: address }) =>
    kind === "gateway" && attached && !revoked && address && ADDRESS.test(address) ? [address] : [],
  );
}

/** The join token into its file; of a connector also the configuration, unless there is one, and its start. */
export function command(kind: Schemas["PartKind"], token: string, gateways: string[]): string {
  const name = kind === "connector" ? "agent" : "gateway";
  const file = `${FOLDER}/secrets/${name}-join-token`;
  const secret = [
    "umask 027",
    `install -d -m 0750 -g postern ${FOLDER} ${FOLDER}/secrets`,
    `printf '%s\\n' '${token}' > ${file}`,
    `chgrp postern ${file}`,
  ];
  if (kind === "gateway" || gateways.length === 0) return `(${secret.join("\n")})`;
  const config = `${FOLDER}/agent.yaml`;
  return `(${[
    ...secret,
    `[ -e ${config} ] || cat > ${config} <<'END'`,
    "data_dir: /var/lib/postern-agent",
    `gateways: [${gateways.map((address) => JSON.stringify(address)).join(", ")}]`,
    `join_token: { file: ${file} }`,
    "END",
    `chgrp postern ${config}`,
    "systemctl enable --now postern-agent)",
  ].join("\n")}`;
}
