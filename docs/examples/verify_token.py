#!/usr/bin/env python3
"""Verifies a Plinth access token offline, with nothing but Python's standard library and the openssl command.

    curl -s http://127.0.0.1:8080/.well-known/paseto-keys > keys.json
    python3 verify_token.py keys.json "$TOKEN"

Prints the claims and ends with 0, or says why the token is refused and ends with 1. A real service would take a PASETO
library (pyseto, say) in place of the first half; the rules in the second half are its own to keep: look the key up by
the `kid` in the footer and refuse what is not there, then check the times, the issuer and the audience.
"""

import base64
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

HEADER = "v4.public."
# The DER prefix of an Ed25519 public key (RFC 8410, section 4).
ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")


class Refused(Exception):
    """The token is not taken."""


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def pre_authentication_encoding(*pieces):
    """PAE of the PASETO specification: every piece with its length, so that none can pass for another."""
    encoded = len(pieces).to_bytes(8, "little")
    for piece in pieces:
        encoded += len(piece).to_bytes(8, "little") + piece
    return encoded


def signature_is_genuine(public_key, message, signature):
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "key.der").write_bytes(ED25519_SPKI + public_key)
        (place / "message").write_bytes(message)
        (place / "signature").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", place / "key.der", "-keyform", "DER",
                   "-rawin", "-in", place / "message", "-sigfile", place / "signature"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def verify(token, keys, issuer=None, audience=None, now=None):
    """The claims of a good token; raises Refused for every other."""
    if not token.startswith(HEADER) or token.count(".") != 3:
        raise Refused("not a v4.public token with a footer")
    body, footer = (unpadded(part) for part in token[len(HEADER):].split("."))
    if len(footer) > 1024:
        raise Refused("the footer is too long")
    kid = json.loads(footer)["kid"]
    paserk = next((key["paserk"] for key in keys if key["kid"] == kid), None)
    if paserk is None:
        raise Refused("unknown key: fetch the list again, then give up")
    message, signature = body[:-64], body[-64:]
    public_key = unpadded(paserk.removeprefix("k4.public."))
    if not signature_is_genuine(public_key, pre_authentication_encoding(HEADER.encode(), message, footer, b""), signature):
        raise Refused("the signature is not genuine")
    claims = json.loads(message)
    now = now or datetime.datetime.now(datetime.timezone.utc)
    if now >= datetime.datetime.fromisoformat(claims["exp"].replace("Z", "+00:00")):
        raise Refused("the token has expired")
    if now + datetime.timedelta(seconds=60) < datetime.datetime.fromisoformat(claims["nbf"].replace("Z", "+00:00")):
        raise Refused("the token is not good yet")
    if issuer is not None and claims["iss"] != issuer:
        raise Refused("another issuer")
    if audience is not None and claims["aud"] != audience:
        raise Refused("another audience")
    return claims


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: verify_token.py KEYS.json TOKEN")
    keys = json.loads(pathlib.Path(sys.argv[1]).read_text())["keys"]
    try:
        print(json.dumps(verify(sys.argv[2], keys), indent=2))
    except Refused as refusal:
        sys.exit(f"refused: {refusal}")
    except (ValueError, KeyError):
        sys.exit("refused: it is no token of ours")


if __name__ == "__main__":
    main()
