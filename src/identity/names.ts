import { createHash } from 'node:crypto';
import type { StatusCause } from '../kube/errors.js';
import { invalidValue } from '../kube/object-meta.js';

// Nothing that cannot be seen or told apart, and nothing that means something in a path, in Basic credentials or in a
// name of the system.
const userName = /^[^\s:/%\p{C}]{1,128}$/u;
const groupName = /^[^:/%\p{C}]{1,253}$/u;
/** Of a group that an identity provider names; it is no object, and may have a colon or a slash. */
const providedGroupName = /^[^\p{C}]{1,253}$/u;
const providerName = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** A path takes the first two for itself; the third is whoever asks. */
const reserved = new Set(['.', '..', '~']);
const systemPrefix = 'system:';

/** Whether somebody can have this name; names of the system, which have a colon, are nobody's. */
export function isUserName(name: string): boolean {
  return (
    userName.test(name) && !reserved.has(name) && name.toLowerCase() !== 'system' && name === name.normalize('NFC')
  );
}

/** Whether a Group can have this name; names of the system, which have a colon, are taken. */
export function isGroupName(name: string): boolean {
  return groupName.test(name) && !reserved.has(name) && name === name.trim() && name === name.normalize('NFC');
}

/** Whether an identity provider may put its users into a group of this name: not into those of the system. */
export function isProvidedGroupName(name: string): boolean {
  return providedGroupName.test(name) && !name.toLowerCase().startsWith(systemPrefix);
}

/** Whether an identity provider can be called so: identities begin with it, up to their first colon. */
export function isProviderName(name: string): boolean {
  return providerName.test(name);
}

/** A cause for a name that is nobody's. */
export function userNameCauses(name: string, field: string): StatusCause[] {
  if (isUserName(name)) return [];
  return [
    invalidValue(
      field,
      name,
      'may not contain spaces, ":", "/" or "%", may not be "~" or "system", and has 1 to 128 characters',
    ),
  ];
}

/** A cause for a name that no Group can have. */
export function groupNameCauses(name: string, field: string): StatusCause[] {
  if (isGroupName(name)) return [];
  return [invalidValue(field, name, 'may not contain ":", "/" or "%", may not be "~", and has 1 to 253 characters')];
}

/** Of what stands for a subject that an object cannot be called. */
const encodedPrefix = /^(b64|sha256):/;
const maxPlainLength = 180;
const maxEncodedBytes = 132;

/**
 * The name of the Identity of somebody: the provider, a colon, and what the provider calls them. Two of them never get
 * the same.
 */
export function identityName(provider: string, subject: string): string {
  return `${provider}:${providerUserName(subject)}`;
}

/** What a provider calls somebody, as an Identity writes it: in base64url, or hashed, where a name cannot have that. */
export function providerUserName(subject: string): string {
  const isPlain =
    subject.length <= maxPlainLength && /^[^\s/%\\\p{C}]+$/u.test(subject) && !encodedPrefix.test(subject);
  if (isPlain) return subject;
  const bytes = Buffer.from(subject, 'utf8');
  return bytes.length <= maxEncodedBytes
    ? `b64:${bytes.toString('base64url')}`
    : `sha256:${createHash('sha256').update(bytes).digest('base64url')}`;
}
