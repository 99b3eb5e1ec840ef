#!/usr/bin/env python3
"""The five-minute path with the client that openapi-python-client makes of openapi/openapi.json, not touched by hand.

    scripts/spec client python DIR        # prints the interpreter that has what the client needs
    PYTHONPATH=DIR PYTHON five_minutes.py http://127.0.0.1:8080 plinth-data/outbox

Ends with 0 when every answer was the one that the contract promises.
"""

import email
import email.policy
import io
import pathlib
import re
import sys
import time
import uuid

from plinth_client import AuthenticatedClient, Client
from plinth_client.api.accounts import forgot_password, get_me, get_usage, register, update_me, verify_email
from plinth_client.api.events import list_events, publish_event, publish_events
from plinth_client.api.files import create_file_link, delete_file, download_file, get_file, list_files, upload_file
from plinth_client.api.keys import list_public_keys
from plinth_client.api.mail import get_mail, list_mail
from plinth_client.api.sessions import list_sessions, login, logout, refresh, whoami
from plinth_client.models import (
    CreateLinkBody,
    EmailBody,
    LoginBody,
    LogoutBody,
    LogoutScope,
    PatchMeBody,
    Problem,
    PublishEventBody,
    PublishEventsBody,
    RefreshBody,
    RegisterBody,
    TokenBody,
    UploadForm,
)
from plinth_client.types import File

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "docs" / "examples"))
from verify_token import verify  # noqa: E402  (the verifier that services use stands beside the documentation)

PDF = (HERE.parents[1] / "data" / "sample.pdf").read_bytes()
PASSWORD = "three purple otters swim"


def good(response, status):
    """The typed body of an answer that must have this status."""
    parsed = response.parsed
    if response.status_code != status or isinstance(parsed, Problem):
        raise SystemExit(f"{status} was expected and {response.status_code} came: {parsed or response.content!r}")
    return parsed


def refused(response, status, code):
    """The typed problem of an answer that must be this refusal."""
    problem = response.parsed
    if response.status_code != status or not isinstance(problem, Problem) or problem.code != code:
        raise SystemExit(f"{status} {code} was expected and {response.status_code} came: {problem or response.content!r}")
    assert problem.request_id == response.headers["x-request-id"]
    return problem


def mailed_token(outbox, address):
    """The token of the verification link, as soon as the mail lies in the outbox."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for path in pathlib.Path(outbox).glob("*.eml"):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            link = re.search(r"token=([\w-]+)", mail.get_body(("plain",)).get_content())
            if address in mail["to"] and link:
                return link[1]
        time.sleep(0.05)
    raise SystemExit("no mail came")


def sign_in(base, outbox):
    """A verified account, and its tokens."""
    visitor = Client(base_url=base)
    address = f"ada-{uuid.uuid4()}@example.org"
    short = refused(
        register.sync_detailed(client=visitor, body=RegisterBody(email=address, password="short", name="Ada")),
        422,
        "validation_failed",
    )
    assert short.errors[0].pointer == "#/password", short
    good(register.sync_detailed(client=visitor, body=RegisterBody(email=address, password=PASSWORD, name="Ada")), 202)
    good(verify_email.sync_detailed(client=visitor, body=TokenBody(token=mailed_token(outbox, address))), 204)
    pair = good(login.sync_detailed(client=visitor, body=LoginBody(email=address, password=PASSWORD)), 200)
    keys = good(list_public_keys.sync_detailed(client=visitor), 200)
    claims = verify(pair.access_token, [key.to_dict() for key in keys.keys])
    assert claims["sid"] == str(pair.session_id)
    return visitor, address, pair


def account(client, address, pair):
    """Who the caller is, by token and by account."""
    claims = good(whoami.sync_detailed(client=client), 200)
    me = good(get_me.sync_detailed(client=client), 200)
    assert (claims.sub, claims.sid, claims.act) == (me.id, pair.session_id, None)
    assert (me.email, me.tier, me.disabled) == (address, "free", False)
    renamed = good(update_me.sync_detailed(client=client, body=PatchMeBody(name="Ada Lovelace")), 200)
    assert renamed.name == "Ada Lovelace" and renamed.created_at == me.created_at
    sessions = good(list_sessions.sync_detailed(client=client), 200)
    assert [session.current for session in sessions.items] == [True] and sessions.next_cursor is None


def files(client):
    """A PDF in both forms, a range of it, and a link for those without a token."""
    raw = File(payload=io.BytesIO(PDF))
    stored = good(upload_file.sync_detailed(client=client, body=raw, type_="resume", name="cv.pdf"), 201)
    assert (stored.size, stored.media_type) == (len(PDF), "application/pdf")
    form = UploadForm(file=File(payload=io.BytesIO(PDF), file_name="form.pdf", mime_type="application/pdf"))
    second = good(upload_file.sync_detailed(client=client, body=form, type_="resume"), 201)
    assert (second.name, second.sha256) == ("form.pdf", stored.sha256)
    assert good(get_file.sync_detailed(stored.id, client=client), 200) == stored
    page = good(list_files.sync_detailed(client=client, type_="resume", limit=1), 200)
    assert [file.id for file in page.items] == [second.id] and page.next_cursor
    page = good(list_files.sync_detailed(client=client, type_="resume", after=page.next_cursor), 200)
    assert [file.id for file in page.items] == [stored.id]
    part = download_file.sync_detailed(stored.id, client=client, range_="bytes=0-7")
    assert good(part, 206).payload.read() == PDF[:8]
    assert part.headers["content-range"] == f"bytes 0-7/{len(PDF)}"
    link = good(create_file_link.sync_detailed(stored.id, client=client, body=CreateLinkBody(expires_in=600)), 200)
    assert Client(base_url="").get_httpx_client().get(link.url).content == PDF
    good(delete_file.sync_detailed(second.id, client=client), 204)
    refused(get_file.sync_detailed(second.id, client=client), 404, "not_found")


def events(client):
    """An event of one's own, published, waited for, and published once although it was sent twice."""
    cursor = good(list_events.sync_detailed(client=client, limit=200), 200).next_cursor
    body = PublishEventBody(type_="app.note.added", data={"text": "hello"}, subject="note 1")
    sent = [good(publish_event.sync_detailed(client=client, body=body, idempotency_key="note-1"), 201) for _ in range(2)]
    assert sent[0].id == sent[1].id
    found = []
    while not found:
        page = good(list_events.sync_detailed(client=client, after=cursor, wait=10), 200)
        cursor = page.next_cursor
        found = [event for event in page.items if event.type_ == "app.note.added"]
    assert [(event.id, event.data, event.subject) for event in found] == [(sent[0].id, {"text": "hello"}, "note 1")]
    batch = PublishEventsBody(events=[PublishEventBody(type_="app.note.read", data=None), body])
    ids = good(publish_events.sync_detailed(client=client, body=batch), 201).ids
    followed = []
    while len(followed) < 2:
        page = good(list_events.sync_detailed(client=client, after=cursor, wait=10), 200)
        cursor = page.next_cursor
        # Events of Plinth's own come whenever they happen, such as that the welcome mail was sent.
        followed += [event.id for event in page.items if event.type_.startswith("app.")]
    assert followed == ids


def mail(visitor, client, address):
    """A mail that was asked for, with its attempt. The one that verified the address came before there was an account."""
    good(forgot_password.sync_detailed(client=visitor, body=EmailBody(email=address)), 202)
    until, sent = time.monotonic() + 20, []
    while not sent and time.monotonic() < until:
        time.sleep(0.05)
        messages = good(list_mail.sync_detailed(client=client), 200).items
        # The account was greeted too.
        sent = [message for message in messages if (message.template, message.state) == ("reset_password", "sent")]
    [message] = sent
    assert message.to == address
    detail = good(get_mail.sync_detailed(message.id, client=client), 200)
    assert detail.attempts[0].accepted and detail.sent_at == message.sent_at


def main():
    base, outbox = sys.argv[1:3]
    visitor, address, pair = sign_in(base, outbox)
    with AuthenticatedClient(base_url=base, token=pair.access_token, timeout=30) as client:
        account(client, address, pair)
        files(client)
        events(client)
        mail(visitor, client, address)
        assert good(get_usage.sync_detailed(client=client), 200).files == 1
    fresh = good(refresh.sync_detailed(client=visitor, body=RefreshBody(refresh_token=pair.refresh_token)), 200)
    assert fresh.session_id == pair.session_id
    client = AuthenticatedClient(base_url=base, token=fresh.access_token)
    good(logout.sync_detailed(client=client, body=LogoutBody(scope=LogoutScope.THIS)), 204)
    refused(get_me.sync_detailed(client=client), 401, "session_ended")
    print("the five-minute path holds with the generated Python client")


if __name__ == "__main__":
    main()
