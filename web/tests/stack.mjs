// A running `postern dev`, a browser, and somebody who is signed in.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";

const TARGET = process.env.CARGO_TARGET_DIR ?? new URL("../../target", import.meta.url).pathname;
export const POSTERN = process.env.POSTERN ?? join(TARGET, "debug/postern");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const READY_MS = 90_000;

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Waits until something is so. */
export async function until(what, so, ms = 20_000) {
  for (const end = Date.now() + ms; !(await so()); await sleep(250)) {
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
  }
}

export class Stack {
  static async start(...files) {
    const folder = mkdtempSync(join(tmpdir(), "postern-console-"));
    const ports = [await freePort(), await freePort()].map(String);
    const args = ["dev", "--data-dir", join(folder, "data"), "--http-port", ports[0], "--pg-port", ports[1]];
    for (const file of files) args.push("--config", file);
    const child = spawn(POSTERN, args, { env: { ...process.env, HOME: folder }, stdio: ["ignore", "pipe", "pipe"] });
    let log = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (log += text));
    const told = join(folder, "data/dev.json");
    for (const end = Date.now() + READY_MS; !existsSync(told); await sleep(100)) {
      if (child.exitCode !== null || Date.now() > end) throw new Error(`postern dev is not ready:\n${log}`);
    }
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    return new Stack(folder, child, browser, JSON.parse(readFileSync(told, "utf8")));
  }

  constructor(folder, child, browser, dev) {
    Object.assign(this, { folder, child, browser, dev, url: dev.http_url });
  }

  async stop() {
    await this.browser.close();
    this.child.kill("SIGTERM");
    if (this.child.exitCode === null) await once(this.child, "exit");
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A call of the API with a token, as programs make it. */
  async call(token, method, path, body) {
    const answer = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  admin(method, path, body) {
    return this.call(this.dev.admin_token, method, path, body);
  }

  agent(method, path, body) {
    return this.call(this.dev.agent_token, method, path, body);
  }

  /** The agent asks for access. */
  request(role, reason, duration = "30m") {
    return this.agent("POST", "/requests", { connection: "demo", role, duration, reason });
  }

  /** A page on which nobody is signed in; what the browser complains about is kept in `page.complaints`. */
  async open(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1360, height: 860 }, ...options });
    context.setDefaultTimeout(10_000);
    const page = await context.newPage();
    page.complaints = [];
    page.on("console", (message) => {
      // That nobody is signed in, that a policy is wrong or something is not there, are answers of the API, which the browser calls errors.
      if (["error", "warning"].includes(message.type()) && !/status of 40[014]/.test(message.text())) {
        page.complaints.push(message.text());
      }
    });
    page.on("pageerror", (error) => page.complaints.push(String(error)));
    page.asked = [];
    page.on("request", (request) => page.asked.push(request.url()));
    return page;
  }

  /** The same, signed in. */
  async signedIn(path = "/", { token = this.dev.admin_token, ...options } = {}) {
    const page = await this.open(options);
    await page.goto(this.url + path);
    await page.getByLabel("API token").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("navigation", { name: "Pages" }).waitFor();
    return page;
  }
}

export const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
