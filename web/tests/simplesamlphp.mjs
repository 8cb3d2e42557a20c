// An identity provider on loopback that speaks SAML: Debian's simplesamlphp, in PHP's own web server.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, until } from "./stack.mjs";

const PAGES = "/usr/share/simplesamlphp/www";
const PASSWORD = "a long password";
const PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";

/** A value as PHP writes it. */
function php(value) {
  if (Array.isArray(value)) return `[${value.map(php).join(", ")}]`;
  if (value === null || typeof value !== "object") return typeof value === "string" ? `'${value.replace(/['\\]/g, "\\$&")}'` : String(value);
  // What is numbered is in that order.
  const entries = Object.entries(value).map(([key, of]) => `${/^\d+$/.test(key) ? key : php(key)} => ${php(of)}`);
  return `[${entries.join(", ")}]`;
}

export class SimpleSamlPhp {
  /** `folder`: where it keeps what it has. On another host than Postern: what it has browsers post is another site's. */
  static async start(folder) {
    const port = await freePort();
    const home = join(folder, "simplesamlphp");
    for (const name of ["config", "metadata", "cert", "data", "log", "tmp"]) mkdirSync(join(home, name), { recursive: true });
    for (const name of ["idp", "other"]) {
      const files = ["-keyout", join(home, `cert/${name}.pem`), "-out", join(home, `cert/${name}.crt`)];
      execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=idp", ...files], { stdio: "ignore" });
    }
    const provider = new SimpleSamlPhp(home, `http://localhost:${port}/`);
    provider.write("config/config.php", "config", {
      baseurlpath: provider.url,
      certdir: `${home}/cert/`,
      loggingdir: `${home}/log/`,
      datadir: `${home}/data/`,
      tempdir: `${home}/tmp`,
      metadatadir: `${home}/metadata`,
      "metadata.sources": [{ type: "flatfile", directory: `${home}/metadata` }],
      secretsalt: "a test",
      "auth.adminpassword": "a test",
      technicalcontact_email: "a@example.com",
      timezone: "UTC",
      "logging.handler": "file",
      "logging.logfile": "log",
      "enable.saml20-idp": true,
      "store.type": "phpsession",
      "session.cookie.secure": false,
      "session.cookie.samesite": null,
      "session.phpsession.savepath": `${home}/tmp`,
      "module.enable": { exampleauth: true },
      "language.available": ["en"],
      "language.default": "en",
    });
    provider.people({ zoe: ["dba", "agents"] });
    provider.signsWith("idp");
    provider.write("metadata/saml20-sp-remote.php", "metadata", {});
    const settings = ["-d", `session.save_path=${home}/tmp`, "-d", "opcache.enable=0"];
    const env = { ...process.env, SIMPLESAMLPHP_CONFIG_DIR: `${home}/config` };
    provider.child = spawn("php", [...settings, "-S", `127.0.0.1:${port}`, "-t", PAGES], { env, stdio: "ignore" });
    await until("simplesamlphp answers", () => fetch(provider.metadataUrl).then((answer) => answer.ok, () => false));
    return provider;
  }

  constructor(home, url) {
    Object.assign(this, { home, url, metadataUrl: `${url}saml2/idp/metadata.php` });
  }

  write(file, name, value) {
    writeFileSync(join(this.home, file), `<?php\n$${name} = ${php(value)};\n`);
  }

  /** Who there is, with their groups. */
  people(groups) {
    const people = Object.entries(groups).map(([uid, groups]) => [`${uid}:${PASSWORD}`, { uid: [uid], mail: [`${uid}@example.com`], groups }]);
    this.write("config/authsources.php", "config", { people: { 0: "exampleauth:UserPass", ...Object.fromEntries(people) } });
  }

  /** By which of its keys it signs. */
  signsWith(key) {
    const own = { host: "__DEFAULT__", privatekey: `${key}.pem`, certificate: `${key}.crt`, auth: "people" };
    this.write("metadata/saml20-idp-hosted.php", "metadata", { [`${this.url}idp`]: own });
  }

  /** What it knows of Postern, and how it answers it. */
  knows(postern, options = {}) {
    const place = `${postern}/saml/corp`;
    const named = { class: "saml:AttributeNameID", attribute: "uid", Format: PERSISTENT };
    const known = { AssertionConsumerService: `${place}/acs`, NameIDFormat: PERSISTENT, authproc: { 50: named }, ...options };
    this.write("metadata/saml20-sp-remote.php", "metadata", { [`${place}/metadata`]: known });
  }

  /** The same, and that it encrypts what it says of people. */
  async encryptsFor(postern, options = {}) {
    const metadata = await (await fetch(`${postern}/saml/corp/metadata`)).text();
    const [, certificate] = metadata.match(/<KeyDescriptor use="encryption">.*?<ds:X509Certificate>([^<]+)</s);
    const key = { type: "X509Certificate", encryption: true, signing: false, X509Certificate: certificate };
    this.knows(postern, { keys: [key], "assertion.encryption": true, ...options });
  }

  document(metadata) {
    return {
      kind: "IdentityProvider",
      name: "corp",
      saml: { user: "uid", email: "mail", ...metadata },
      groups: { claim: "groups" },
    };
  }

  stop() {
    this.child.kill("SIGTERM");
  }

  /** Signs in on its pages. */
  static async signInThere(page, name) {
    await page.locator("#username").fill(name);
    await page.locator("#password").fill(PASSWORD);
    await page.locator("#submit_button, button[type=submit]").first().click();
  }
}
