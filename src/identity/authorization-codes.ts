import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { timestamp } from '../kube/object-meta.js';
import type { ApiObject, ObjectStore } from '../metadata/object-store.js';

/** Authorization codes as the object store names them; the API does not serve them. */
export const authorizationCodesResource = 'oauthauthorizetokens.oauth.openshift.io';

/** RFC 6749, section 4.1.2, has ten minutes as the most; a program that waits for a code takes no time at all. */
const lifetimeMs = 60_000;
/** A code that was used is remembered for so long, to notice that it comes again. */
const rememberedMs = 10 * 60_000;
const retries = 5;

/** RFC 7636, section 4.3. */
export interface CodeChallenge {
  readonly value: string;
  readonly method: 'S256' | 'plain';
}

/** What a code was given for. */
export interface CodeGrant {
  readonly user: { readonly name: string; readonly uid: string };
  readonly clientName: string;
  /** Where the code was sent. */
  readonly redirectUri: string;
  /** Whether the client named that itself: then it has to name it again (RFC 6749, section 4.1.3). */
  readonly isRedirectNamed: boolean;
  readonly scopes: readonly string[];
  readonly challenge?: CodeChallenge;
}

interface CodeObject extends ApiObject {
  readonly grant: CodeGrant;
  /** Milliseconds since 1970. */
  readonly validUntil: number;
  readonly use: 'unused' | 'used' | 'used-again';
  /** The access token that was given for it. */
  readonly tokenName?: string;
}

/** A code that was found; `take` and `keepToken` go on from it. */
export interface FoundCode {
  readonly name: string;
  readonly grant: CodeGrant;
}

/** Codes that are worth an access token, once, within a minute. The store has their hashes only. */
export class AuthorizationCodes {
  readonly #store: ObjectStore;
  readonly #now: () => Date;

  constructor(store: ObjectStore, now: () => Date = () => new Date()) {
    this.#store = store;
    this.#now = now;
  }

  async issue(grant: CodeGrant): Promise<string> {
    const code = randomBytes(32).toString('base64url');
    const now = this.#now();
    const object: CodeObject = {
      metadata: { name: nameOf(code), uid: randomUUID(), creationTimestamp: timestamp(now) },
      grant,
      validUntil: now.getTime() + lifetimeMs,
      use: 'unused',
    };
    const result = await this.#store.commit([
      { kind: 'create', resource: authorizationCodesResource, object, ...traitsOf(object, now) },
    ]);
    if (result.kind === 'refused') throw new Error(`an authorization code could not be stored: ${result.reason}`);
    return code;
  }

  /** What a code is for, whether or not it has been used; undefined when there is none. */
  async find(code: string): Promise<FoundCode | undefined> {
    if (!/^[\w-]{43}$/.test(code)) return undefined;
    const name = nameOf(code);
    const object = await this.#find(name);
    return object && { name, grant: object.grant };
  }

  /**
   * Uses a code up.
   *
   * @returns `taken` to the one who may have a token for it, and `expired`; to everybody after the first `used`, with
   *   the token that was given to the first
   */
  async take(
    name: string,
  ): Promise<
    { readonly kind: 'taken' | 'expired' } | { readonly kind: 'used'; readonly tokenName: string | undefined }
  > {
    for (let attempt = 1; ; attempt += 1) {
      const object = await this.#find(name);
      if (object === undefined) return { kind: 'expired' };
      const isFirst = object.use === 'unused';
      if (isFirst && object.validUntil <= this.#now().getTime()) return { kind: 'expired' };
      if (await this.#replace({ ...object, use: isFirst ? 'used' : 'used-again' })) {
        return isFirst ? { kind: 'taken' } : { kind: 'used', tokenName: object.tokenName };
      }
      if (attempt >= retries) throw new Error('an authorization code could not be marked as used');
    }
  }

  /**
   * Remembers which token was given for a code.
   *
   * @returns false when the code has come again in the meantime: the token must not be handed out
   */
  async keepToken(name: string, tokenName: string): Promise<boolean> {
    const object = await this.#find(name);
    return object?.use === 'used' && (await this.#replace({ ...object, tokenName }));
  }

  async #find(name: string): Promise<CodeObject | undefined> {
    return (await this.#store.find({ resource: authorizationCodesResource, namespace: '', name })) as
      CodeObject | undefined;
  }

  async #replace(object: CodeObject): Promise<boolean> {
    const result = await this.#store.commit([
      { kind: 'replace', resource: authorizationCodesResource, object, ...traitsOf(object, this.#now()) },
    ]);
    return result.kind === 'committed';
  }
}

function traitsOf({ grant, use, validUntil }: CodeObject, now: Date) {
  const until = use === 'unused' ? validUntil : now.getTime() + rememberedMs;
  return { lookups: [grant.user.name], expiresAt: new Date(until) };
}

function nameOf(code: string): string {
  return `sha256~${createHash('sha256').update(code).digest('base64url')}`;
}
