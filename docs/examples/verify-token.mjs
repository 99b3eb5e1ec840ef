#!/usr/bin/env node
// Verifies a Plinth access token offline, with nothing but Node.js.
//
//     curl -s http://127.0.0.1:8080/.well-known/paseto-keys > keys.json
//     node verify-token.mjs keys.json "$TOKEN"
//
// Prints the claims and ends with 0, or says why the token is refused and ends with 1.
import { createPublicKey, verify as verifySignature } from 'node:crypto';
import { readFileSync } from 'node:fs';

const HEADER = 'v4.public.';
// The DER prefix of an Ed25519 public key (RFC 8410, section 4).
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex');

// PAE of the PASETO specification: every piece with its length, so that none can pass for another.
function preAuthenticationEncoding(...pieces) {
  const length = (number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(number));
    return bytes;
  };
  return Buffer.concat([length(pieces.length), ...pieces.flatMap((piece) => [length(piece.length), piece])]);
}

export function verify(token, keys, { issuer, audience, now = new Date() } = {}) {
  const parts = token.split('.');
  if (!token.startsWith(HEADER) || parts.length !== 4) throw new Error('not a v4.public token with a footer');
  const [body, footer] = parts.slice(2).map((part) => Buffer.from(part, 'base64url'));
  if (footer.length > 1024) throw new Error('the footer is too long');
  const { kid } = JSON.parse(footer);
  const key = keys.find((candidate) => candidate.kid === kid);
  if (!key) throw new Error('unknown key: fetch the list again, then give up');
  const [message, signature] = [body.subarray(0, -64), body.subarray(-64)];
  const raw = Buffer.from(key.paserk.replace('k4.public.', ''), 'base64url');
  const publicKey = createPublicKey({ key: Buffer.concat([ED25519_SPKI, raw]), format: 'der', type: 'spki' });
  const signed = preAuthenticationEncoding(Buffer.from(HEADER), message, footer, Buffer.alloc(0));
  if (!verifySignature(null, signed, publicKey, signature)) throw new Error('the signature is not genuine');
  const claims = JSON.parse(message);
  if (now >= new Date(claims.exp)) throw new Error('the token has expired');
  if (now.getTime() + 60_000 < new Date(claims.nbf).getTime()) throw new Error('the token is not good yet');
  if (issuer !== undefined && claims.iss !== issuer) throw new Error('another issuer');
  if (audience !== undefined && claims.aud !== audience) throw new Error('another audience');
  return claims;
}

if (process.argv[1] && import.meta.url.endsWith(process.argv[1].split('/').pop())) {
  try {
    const { keys } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
    console.log(JSON.stringify(verify(process.argv[3], keys), null, 2));
  } catch (refusal) {
    console.error(`refused: ${refusal.message}`);
    process.exit(1);
  }
}
