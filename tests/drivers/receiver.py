"""Receivers of notifications, as other people's libraries read them: webhooks, Slack's API, a mail server.

`receiver.py serve FOLDER --http PORT …` appends what comes to FOLDER/seen.jsonl, each with whether its signature,
token or login was right, and answers as FOLDER/behave.json says: `{"hook": 500}`.
`receiver.py interact URL …` does what Slack does when somebody presses a button, and prints the answer.
"""

import argparse
import asyncio
import email
import email.policy
import json
import os
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from slack_sdk.signature import SignatureVerifier
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

lock = threading.Lock()


def note(folder, kind, **what):
    with lock, open(os.path.join(folder, "seen.jsonl"), "a") as seen:
        seen.write(json.dumps({"kind": kind, **what}) + "\n")


def behaviour(folder, kind):
    try:
        with open(os.path.join(folder, "behave.json")) as behave:
            return json.load(behave).get(kind)
    except FileNotFoundError:
        return None


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path.startswith("/api/"):
            self.slack(body)
        else:
            self.hook(body)

    def hook(self, body):
        verified = []
        for secret in self.server.options.secret:
            try:
                Webhook(secret).verify(body, dict(self.headers))
                verified.append(secret)
            except WebhookVerificationError:
                pass
        wanted = behaviour(self.server.options.folder, "hook") or 200
        note(
            self.server.options.folder,
            "hook",
            path=self.path,
            id=self.headers["webhook-id"],
            agent=self.headers["user-agent"],
            verified=verified,
            answered=wanted,
            body=json.loads(body),
        )
        self.answer(wanted, b"", {"location": "/elsewhere"} if 300 <= wanted < 400 else {})

    def slack(self, body):
        method = self.path.removeprefix("/api/")
        call = json.loads(body)
        right = self.headers["authorization"] == f"Bearer {self.server.options.slack_token}"
        wanted = behaviour(self.server.options.folder, method)
        note(self.server.options.folder, "slack", method=method, right=right, call=call)
        if not right:
            answer = {"ok": False, "error": "invalid_auth"}
        elif wanted:
            answer = {"ok": False, "error": wanted}
        else:
            with lock:
                self.server.messages += 1
                ts = f"1700000000.{self.server.messages:06}"
            answer = {"ok": True, "channel": call.get("channel"), "ts": call.get("ts", ts)}
        self.answer(200, json.dumps(answer).encode(), {"content-type": "application/json"})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Mail:
    def __init__(self, options):
        self.options = options

    async def handle_DATA(self, server, session, envelope):
        wanted = behaviour(self.options.folder, "mail")
        message = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        part = lambda kind: message.get_body((kind,)).get_content()
        note(
            self.options.folder,
            "mail",
            tls=session.ssl is not None,
            authenticated=session.authenticated,
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            headers=[[name, str(value)] for name, value in message.items()],
            text=part("plain"),
            html=part("html"),
        )
        return wanted or "250 OK"


def served(options):
    http = ThreadingHTTPServer(("127.0.0.1", options.http), Http)
    http.options, http.messages = options, 0
    threading.Thread(target=http.serve_forever, daemon=True).start()
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
        https = ThreadingHTTPServer(("127.0.0.1", options.https), Http)
        https.options, https.messages = options, 0
        https.socket = context.wrap_socket(https.socket, server_side=True)
        threading.Thread(target=https.serve_forever, daemon=True).start()

    def login(server, session, envelope, mechanism, data):
        right = isinstance(data, LoginPassword) and data == LoginPassword(b"postern", options.smtp_password.encode())
        return AuthResult(success=right, handled=False)

    if options.smtp:
        Controller(
            Mail(options),
            hostname="127.0.0.1",
            port=options.smtp,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=login,
        ).start()
    print("ready", flush=True)
    asyncio.new_event_loop().run_forever()


def interact(options):
    body = urllib.parse.urlencode({"payload": options.payload})
    at = str(int(time.time()) - options.age)
    signature = SignatureVerifier(options.secret[0]).generate_signature(timestamp=at, body=body)
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": at,
        "x-slack-signature": signature,
    }
    sent = body + "&more=1" if options.changed else body
    request = urllib.request.Request(options.url, sent.encode(), headers)
    try:
        with urllib.request.urlopen(request) as response:
            print(json.dumps({"status": response.status, "body": response.read().decode()}))
    except urllib.error.HTTPError as error:
        print(json.dumps({"status": error.code, "body": error.read().decode()}))


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    serve = commands.add_parser("serve")
    serve.add_argument("folder")
    serve.add_argument("--http", type=int, required=True)
    serve.add_argument("--https", type=int)
    serve.add_argument("--smtp", type=int)
    serve.add_argument("--certificate")
    serve.add_argument("--key")
    serve.add_argument("--secret", action="append", default=[])
    serve.add_argument("--slack-token")
    serve.add_argument("--smtp-password", default="")
    serve.set_defaults(run=served)
    press = commands.add_parser("interact")
    press.add_argument("url")
    press.add_argument("--secret", action="append", required=True)
    press.add_argument("--payload", required=True)
    press.add_argument("--age", type=int, default=0)
    press.add_argument("--changed", action="store_true")
    press.set_defaults(run=interact)
    options = parser.parse_args()
    options.run(options)


main()
