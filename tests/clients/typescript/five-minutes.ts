// The five-minute path with openapi-fetch and the types that openapi-typescript makes of openapi/openapi.json, not
// touched by hand.
//
//     scripts/spec client typescript DIR     # makes plinth.d.ts, compiles this program against it, strictly
//     node DIR/five-minutes.js http://127.0.0.1:8080 plinth-data/outbox REPOSITORY
//
// Ends with 0 when every answer was the one that the contract promises.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import createClient, { type Client } from 'openapi-fetch';
import type { components, paths } from './plinth.js';

type Problem = components['schemas']['Problem'];
type Event = components['schemas']['EventBody'];
type Plinth = Client<paths>;
type Answer<T> = { data?: T; error?: Problem; response: Response };

const [base, outbox, repository] = process.argv.slice(2) as [string, string, string];
const pdf = readFileSync(join(repository, 'tests/data/sample.pdf'));
const password = 'three purple otters swim';

function told<T>({ data, error, response }: Answer<T>, status: number): T {
  assert.equal(response.status, status, JSON.stringify(error));
  assert.notEqual(data, undefined);
  return data as T;
}

function done({ error, response }: Answer<unknown>, status: number): void {
  assert.equal(response.status, status, JSON.stringify(error));
}

function refused({ error, response }: Answer<unknown>, status: number, code: string): Problem {
  assert.ok(error, `${status} was expected and ${response.status} came`);
  assert.deepEqual([response.status, error.code], [status, code]);
  assert.equal(error.request_id, response.headers.get('x-request-id'));
  return error;
}

// The plain part of these mails is quoted-printable: soft line ends and `=3D` come back to what was written.
async function mailedToken(address: string): Promise<string> {
  for (const until = Date.now() + 20_000; Date.now() < until; ) {
    let names: string[] = [];
    try {
      names = readdirSync(outbox).filter((name) => name.endsWith('.eml'));
    } catch {
      // The folder comes with the first mail.
    }
    for (const name of names) {
      const text = readFileSync(join(outbox, name), 'utf8').replace(/=\r?\n/g, '').replaceAll('=3D', '=');
      const token = /token=([\w-]+)/.exec(text)?.[1];
      if (text.includes(address) && token) return token;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('no mail came');
}

async function signIn(visitor: Plinth) {
  const email = `ada-${randomUUID()}@example.org`;
  const short = await visitor.POST('/v1/auth/register', { body: { email, password: 'short', name: 'Ada' } });
  assert.equal(refused(short, 422, 'validation_failed').errors?.[0]?.pointer, '#/password');
  done(await visitor.POST('/v1/auth/register', { body: { email, password, name: 'Ada' } }), 202);
  done(await visitor.POST('/v1/auth/verify', { body: { token: await mailedToken(email) } }), 204);
  const pair = told(await visitor.POST('/v1/auth/login', { body: { email, password } }), 200);
  const { keys } = told(await visitor.GET('/.well-known/paseto-keys'), 200);
  const { verify } = await import(pathToFileURL(join(repository, 'docs/examples/verify-token.mjs')).href);
  assert.equal(verify(pair.access_token, keys).sid, pair.session_id);
  return { email, pair };
}

async function account(client: Plinth, email: string) {
  const claims = told(await client.GET('/v1/auth/whoami'), 200);
  const me = told(await client.GET('/v1/me'), 200);
  assert.deepEqual([claims.sub, claims.act, me.email, me.tier], [me.id, null, email, 'free']);
  const renamed = told(await client.PATCH('/v1/me', { body: { name: 'Ada Lovelace' } }), 200);
  assert.equal(renamed.name, 'Ada Lovelace');
  const sessions = told(await client.GET('/v1/me/sessions', { params: { query: { limit: 10 } } }), 200);
  assert.deepEqual([sessions.items.map(({ current }) => current), sessions.next_cursor], [[true], null]);
}

async function files(client: Plinth) {
  // `format: binary` is a string to the generator: what is sent is the serializer's.
  const raw = await client.POST('/v1/files', {
    params: { query: { type: 'resume', name: 'cv.pdf' } },
    body: '',
    bodySerializer: () => pdf,
    headers: { 'Content-Type': 'application/pdf' },
  });
  const stored = told(raw, 201);
  assert.deepEqual([stored.size, stored.media_type], [pdf.length, 'application/pdf']);
  const form = await client.POST('/v1/files', {
    params: { query: { type: 'resume' } },
    body: { file: '' },
    bodySerializer: () => {
      const data = new FormData();
      data.set('file', new Blob([pdf], { type: 'application/pdf' }), 'form.pdf');
      return data;
    },
  });
  const second = told(form, 201);
  assert.deepEqual([second.name, second.sha256], ['form.pdf', stored.sha256]);
  const path = { id: stored.id };
  assert.deepEqual(told(await client.GET('/v1/files/{id}', { params: { path } }), 200), stored);
  const first = told(await client.GET('/v1/files', { params: { query: { type: 'resume', limit: 1 } } }), 200);
  const after = first.next_cursor ?? undefined;
  const rest = told(await client.GET('/v1/files', { params: { query: { type: 'resume', after } } }), 200);
  assert.deepEqual([...first.items, ...rest.items].map(({ id }) => id), [second.id, stored.id]);
  const part = await client.GET('/v1/files/{id}/content', {
    params: { path, header: { Range: 'bytes=0-7' } },
    parseAs: 'arrayBuffer',
  });
  assert.deepEqual(Buffer.from(told(part, 206)), pdf.subarray(0, 8));
  assert.equal(part.response.headers.get('content-range'), `bytes 0-7/${pdf.length}`);
  const link = told(await client.POST('/v1/files/{id}/link', { params: { path }, body: { expires_in: 600 } }), 200);
  assert.deepEqual(Buffer.from(await (await fetch(link.url)).arrayBuffer()), pdf);
  done(await client.DELETE('/v1/files/{id}', { params: { path: { id: second.id } } }), 204);
  refused(await client.GET('/v1/files/{id}', { params: { path: { id: second.id } } }), 404, 'not_found');
}

async function follow(client: Plinth, after: string | undefined, wanted: (events: Event[]) => boolean) {
  const seen: Event[] = [];
  while (!wanted(seen)) {
    const page = told(await client.GET('/v1/events', { params: { query: { after, wait: 10 } } }), 200);
    // Events of Plinth's own come whenever they happen, such as that the welcome mail was sent.
    seen.push(...page.items.filter(({ type }) => type.startsWith('app.')));
    after = page.next_cursor ?? undefined;
  }
  return { seen, after };
}

async function events(client: Plinth) {
  const start = told(await client.GET('/v1/events', { params: { query: { limit: 200 } } }), 200).next_cursor ?? undefined;
  const body = { type: 'app.note.added', data: { text: 'hello' }, subject: 'note 1' };
  const params = { header: { 'Idempotency-Key': 'note-1' } };
  const sent = told(await client.POST('/v1/events', { params, body }), 201);
  const again = await client.POST('/v1/events', { params, body });
  assert.equal(told(again, 201).id, sent.id);
  assert.equal(again.response.headers.get('idempotency-replayed'), 'true');
  const { seen, after } = await follow(client, start, (found) => found.some(({ type }) => type === body.type));
  const notes = seen.filter(({ type }) => type === body.type).map(({ id, data, subject }) => ({ id, data, subject }));
  assert.deepEqual(notes, [{ id: sent.id, data: body.data, subject: body.subject }]);
  const batch = await client.POST('/v1/events/batch', { body: { events: [{ type: 'app.note.read', data: null }, body] } });
  const both = await follow(client, after, (found) => found.length >= 2);
  assert.deepEqual(both.seen.map(({ id }) => id), told(batch, 201).ids);
}

// The mail that verified the address came before there was an account: another one is asked for.
async function mail(visitor: Plinth, client: Plinth, email: string) {
  done(await visitor.POST('/v1/auth/password/forgot', { body: { email } }), 202);
  let message: components['schemas']['MailBody'] | undefined;
  for (const until = Date.now() + 20_000; !message && Date.now() < until; ) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    // The account was greeted too.
    const isAskedFor = ({ state, template }: components['schemas']['MailBody']) =>
      state === 'sent' && template === 'reset_password';
    message = told(await client.GET('/v1/mail'), 200).items.find(isAskedFor);
  }
  assert.ok(message, 'no mail was sent');
  assert.equal(message.to, email);
  const detail = told(await client.GET('/v1/mail/{id}', { params: { path: { id: message.id } } }), 200);
  assert.deepEqual([detail.attempts[0]?.accepted, detail.sent_at], [true, message.sent_at]);
}

function bearing(token: string): Plinth {
  return createClient<paths>({ baseUrl: base, headers: { Authorization: `Bearer ${token}` } });
}

const visitor = createClient<paths>({ baseUrl: base });
const { email, pair } = await signIn(visitor);
const client = bearing(pair.access_token);
await account(client, email);
await files(client);
await events(client);
await mail(visitor, client, email);
assert.equal(told(await client.GET('/v1/me/usage'), 200).files, 1);
const fresh = told(await visitor.POST('/v1/auth/refresh', { body: { refresh_token: pair.refresh_token } }), 200);
assert.equal(fresh.session_id, pair.session_id);
const last = bearing(fresh.access_token);
done(await last.POST('/v1/auth/logout', { body: { scope: 'this' } }), 204);
refused(await last.GET('/v1/me'), 401, 'session_ended');
console.log('the five-minute path holds with the generated TypeScript client');
