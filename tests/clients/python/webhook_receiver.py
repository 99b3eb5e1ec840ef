"""A receiver of webhooks: verifies each message with the library of Standard Webhooks, reads it with that of CloudEvents.

    webhook_receiver.py FOLDER

It listens on a free port of 127.0.0.1 and says which in its first line. `FOLDER/secrets` holds the secrets, one a line;
`FOLDER/answer` the status to answer with, 204 when it is not there. For each message it writes a line of JSON. A receiver
of your own needs the ten lines of `verified` alone, with one secret.
"""

import json
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.http import from_http
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

FOLDER = pathlib.Path(sys.argv[1])
SAYING = threading.Lock()


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is by this secret, and the message no older than five minutes."""
    try:
        # The bytes as they came: a body that was parsed and written again has another signature.
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        secrets = (FOLDER / "secrets").read_text().split()
        forged = dict(headers)
        forged["webhook-id"] = "another"
        event = from_http(headers, body)
        try:
            answer = int((FOLDER / "answer").read_text())
        except FileNotFoundError:
            answer = 204
        line = {
            "id": headers["webhook-id"],
            "event": event["id"],
            "type": event["type"],
            "source": event["source"],
            "user": event["userid"],
            "data": event.data,
            "signatures": len(headers["webhook-signature"].split()),
            "verified": [verified(secret, headers, body) for secret in secrets],
            "forged": any(verified(secret, forged, body) for secret in secrets),
            "changed": any(verified(secret, headers, body + b" ") for secret in secrets),
            "answer": answer,
        }
        # Said before it is answered: whatever is taken is in the output.
        with SAYING:
            print(json.dumps(line), flush=True)
        self.send_response(answer)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()
