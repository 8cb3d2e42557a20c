"""Whether a SCIM server keeps to RFC 7643 and RFC 7644, by scim2-tester: prints a JSON list of what it found wrong, and how
many checks there were."""

import json
import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

url, token = sys.argv[1:]
client = Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
scim = SyncSCIMClient(client)
results = check_server(scim)
wrong = [
    {"check": result.title, "kind": result.resource_type, "status": result.status.name, "why": result.reason}
    for result in results
    if result.status not in (Status.SUCCESS, Status.SKIPPED)
]
print(json.dumps({"checks": len(results), "wrong": wrong}))
