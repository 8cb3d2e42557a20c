// Another identity provider on loopback: Debian's glewlwyd, with a database of its own in SQLite.
import { execFileSync, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { copyFileSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SECRET } from "./provider.mjs";
import { freePort } from "./stack.mjs";

const SHARE = "/usr/share/glewlwyd";
const TABLES = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const PASSWORD = "a long password";
const READY_MS = 20_000;

export class Glewlwyd {
  /** `folder`: where it keeps what it has. */
  static async start(folder, postern) {
    const port = await freePort();
    const url = `http://localhost:${port}`;
    const database = join(folder, "glewlwyd.db");
    // A user has groups there once its module is told so.
    const tables = readFileSync(TABLES, "utf8").replace('"data-format":{"picture"', '"data-format":{"groups":{"multiple":true,"read":true,"write":true},"picture"');
    execFileSync("sqlite3", [database], { input: tables });
    // Its pages, with the settings that the package does not bring where they look for them.
    const pages = join(folder, "pages");
    cpSync(`${SHARE}/webapp`, pages, { recursive: true, dereference: true, filter: (from) => !from.endsWith("config.json") });
    copyFileSync(`${SHARE}/templates/config.json`, join(pages, "config.json"));
    const config = join(folder, "glewlwyd.conf");
    writeFileSync(
      config,
      `port=${port}
bind_address="127.0.0.1"
external_url="${url}"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="WARNING"
cookie_secure=0
session_key="GLEWLWYD2_SESSION_ID"
admin_session_authentication="cookie"
profile_session_authentication="cookie"
login_api_enabled=true
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
use_secure_connection=false
secure_connection_key_file=""
secure_connection_pem_file=""
static_files_path="${pages}/"
static_files_mime_types = ({ extension = ".html"; mime_type = "text/html"; }, { extension = ".css"; mime_type = "text/css"; },
  { extension = ".js"; mime_type = "application/javascript"; }, { extension = ".json"; mime_type = "application/json"; })
hash_algorithm = "SHA512"
database = { type = "sqlite3" path = "${database}" };
`,
    );
    const child = spawn("glewlwyd", [`--config-file=${config}`], { stdio: ["ignore", "pipe", "pipe"] });
    const provider = new Glewlwyd(child, url);
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (provider.log += text));
    await provider.ready();
    await provider.fill(postern);
    return provider;
  }

  constructor(child, url) {
    Object.assign(this, { child, url, log: "", cookie: "" });
  }

  async ready() {
    for (const end = Date.now() + READY_MS; ; await sleep(100)) {
      const answer = await this.call("POST", "/auth/", { username: "admin", password: "password" }).catch(() => null);
      if (answer?.ok) {
        this.cookie = answer.headers.get("set-cookie").split(";")[0];
        return;
      }
      if (this.child.exitCode !== null || Date.now() > end) throw new Error(`glewlwyd is not ready:\n${this.log}`);
    }
  }

  call(method, path, body) {
    const headers = { "content-type": "application/json", cookie: this.cookie };
    return fetch(`${this.url}/api${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  }

  async set(method, path, body) {
    const answer = await this.call(method, path, body);
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}\n${this.log}`);
  }

  async fill(postern) {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const pem = (key, type) => key.export({ type, format: "pem" });
    const claim = (name, type) => ({ name, "user-property": name, type, mandatory: true, scope: [] });
    const parameters = {
      iss: `${this.url}/api/oidc`,
      "jwt-type": "rsa",
      "jwt-key-size": "256",
      key: pem(privateKey, "pkcs8"),
      cert: pem(publicKey, "spki"),
      "access-token-duration": 300,
      "refresh-token-duration": 86400,
      "code-duration": 60,
      "refresh-token-rolling": true,
      "refresh-token-one-use": "always",
      "allow-non-oidc": false,
      "auth-type-code-enabled": true,
      "auth-type-refresh-enabled": true,
      "auth-type-token-enabled": false,
      "auth-type-id-token-enabled": true,
      "pkce-allowed": true,
      "oauth-as-iss-id": true,
      "subject-type": "public",
      claims: [claim("groups", "string"), claim("username", "string")],
      "jwks-show": true,
      "jwks-x5c": [],
      scope: [],
      "additional-parameters": [],
    };
    await this.set("POST", "/mod/plugin/", { module: "oidc", name: "oidc", display_name: "OpenID Connect", parameters });
    await this.set("POST", "/client/?source=database", {
      client_id: "postern",
      name: "Postern",
      confidential: true,
      enabled: true,
      client_secret: SECRET,
      redirect_uri: [`${postern}/oauth/callback/corp`],
      authorization_type: ["code", "refresh_token"],
      token_endpoint_auth_method: ["client_secret_basic"],
      scope: [],
    });
    await this.set("POST", "/user/?source=database", {
      username: "zoe",
      password: PASSWORD,
      name: "Zoe",
      email: "zoe@example.com",
      enabled: true,
      scope: ["openid", "g_profile"],
      groups: ["dba", "agents"],
    });
  }

  /** Whoever is disabled there is gone. */
  async disable(username) {
    await this.set("PUT", `/user/${username}?source=database`, { enabled: false, scope: ["openid", "g_profile"] });
  }

  stop() {
    this.child.kill("SIGTERM");
  }

  document() {
    return {
      kind: "IdentityProvider",
      name: "corp",
      oidc: { url: `${this.url}/api/oidc`, client_id: "postern", client_secret: "corp-oidc", scopes: ["openid"], user: "username" },
      groups: { claim: "groups" },
    };
  }

  /** Signs in on its pages. */
  static async signInThere(page, name) {
    await page.locator("#username").fill(name);
    await page.locator("#password").fill(PASSWORD);
    await page.locator("button[type=submit], #password + * button, form button").first().click();
  }
}
