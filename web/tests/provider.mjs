// An identity provider on loopback: the npm package `oidc-provider`, whose login page takes any password.
import { once } from "node:events";
import { createServer } from "node:http";
import Provider from "oidc-provider";

export const SECRET = "a-secret-that-is-long-enough-for-a-client";

export class IdentityProvider {
  /** `accounts`: name → claims; whoever is taken out of it is gone. */
  static async start(postern, accounts) {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${server.address().port}`;
    const provider = new Provider(url, {
      clients: [
        {
          client_id: "postern",
          client_secret: SECRET,
          redirect_uris: [`${postern}/oauth/callback/corp`],
          post_logout_redirect_uris: [`${postern}/`],
          grant_types: ["authorization_code", "refresh_token"],
          backchannel_logout_uri: `${postern}/oauth/backchannel-logout/corp`,
          backchannel_logout_session_required: true,
        },
      ],
      claims: { openid: ["sub", "auth_time"], profile: ["preferred_username"], email: ["email"], groups: ["groups"] },
      scopes: ["openid", "profile", "email", "groups", "offline_access"],
      conformIdTokenClaims: false,
      cookies: { keys: ["a key for tests"] },
      features: { backchannelLogout: { enabled: true } },
      findAccount: (_, accountId) => accounts[accountId] && { accountId, claims: () => ({ sub: accountId, ...accounts[accountId] }) },
      issueRefreshToken: () => true,
      rotateRefreshToken: true,
      ttl: { AccessToken: 300, IdToken: 300, Interaction: 600, Grant: 86400, Session: 86400, RefreshToken: 86400 },
    });
    provider.on("server_error", (_, error) => console.error(error));
    server.on("request", provider.callback());
    return new IdentityProvider(server, url);
  }

  constructor(server, url) {
    Object.assign(this, { server, url });
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  document() {
    return {
      kind: "IdentityProvider",
      name: "corp",
      oidc: { url: this.url, client_id: "postern", client_secret: "corp-oidc", scopes: ["openid", "profile", "email", "groups"] },
      groups: { claim: "groups" },
    };
  }
}

/** Signs in on the provider's pages. */
export async function signInThere(page, name) {
  await page.locator("input[name=login]").fill(name);
  await page.locator("input[name=password]").fill("any");
  await page.locator("button[type=submit]").click();
}

/** Lets Postern know, where the provider asks. */
export async function consent(page) {
  await page.getByRole("button", { name: "Continue" }).click();
}
