import { decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose';
import { z } from 'zod';
import { forbidden, type StatusCause } from '../kube/errors.js';
import { invalidValue, nameCauses, requiredValue } from '../kube/object-meta.js';
import { allVerbs, type Resource } from '../kube/resource.js';
import { StoredResource } from '../kube/stored-resource.js';
import { ageColumn } from '../kube/table.js';
import { allObjects, type ApiObject, type ObjectStore } from '../metadata/object-store.js';
import { isGlobMatch } from './glob.js';
import { IssuerError, IssuerKeys, wrongIssuer } from './issuer-keys.js';

/** Trust rules as the object store names them. */
export const trustRulesResource = 'trustrules.weir.dev';

const names = { group: 'weir.dev', plural: 'trustrules', kind: 'TrustRule', isNamespaced: true } as const;

const conditionSchema = z.object({
  claim: z.string().describe('The name of a claim at the top of the token, such as sub or repository.'),
  value: z.string().optional().describe('What the claim must be.'),
  pattern: z.string().optional().describe('What the claim must look like, the whole of it; * stands for anything.'),
});

const specSchema = z.object({
  issuer: z.string().describe('Who signs the tokens: exactly their claim iss, an https URL.'),
  audience: z.string().describe('Whom the tokens are for: exactly their claim aud.'),
  claims: z.array(conditionSchema).describe('What else they must say; all of it.'),
  serviceAccountName: z.string().describe('Which service account of the namespace their bearers are.'),
});

/** weir.dev TrustRule. */
export interface TrustRuleObject extends ApiObject {
  readonly spec: z.output<typeof specSchema>;
}

type Condition = z.output<typeof conditionSchema>;

function column(name: string, description: string, cell: (spec: TrustRuleObject['spec']) => string) {
  return {
    name,
    type: 'string' as const,
    description,
    cell: (object: ApiObject) => cell((object as TrustRuleObject).spec),
  };
}

/**
 * The resource of trust rules: which tokens of a CI system are as good as which service account. Who writes one must
 * be allowed to make tokens of that account anyway.
 */
export function trustRuleResource(store: ObjectStore): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'trustrule',
    verbs: allVerbs,
    description:
      'TrustRule lets the bearers of certain OpenID Connect tokens, such as those of a CI system, act as a service account.',
    schema: z.object({ spec: specSchema }),
    columns: [
      column('Issuer', 'Who signs the tokens.', ({ issuer }) => issuer),
      column('Service Account', 'Who their bearers are.', ({ serviceAccountName }) => serviceAccountName),
      ageColumn,
    ],
    storage: new StoredResource(store, names, {
      validate: (object) => trustRuleCauses((object as TrustRuleObject).spec),
      mayWrite: async (call, object) => {
        const { serviceAccountName: name } = (object as TrustRuleObject).spec;
        if (await call.may({ verb: 'create', group: '', resource: 'serviceaccounts/token', name })) return;
        throw forbidden(
          names,
          object.metadata.name,
          `it lets others act as service account ${JSON.stringify(name)}, and you may not make tokens of it`,
        );
      },
      traits: (object) => ({ lookups: [(object as TrustRuleObject).spec.issuer] }),
    }),
  };
}

function trustRuleCauses({ issuer, audience, claims, serviceAccountName }: TrustRuleObject['spec']): StatusCause[] {
  const causes: StatusCause[] = [];
  const wrong = wrongIssuer(issuer);
  if (wrong !== undefined) causes.push(invalidValue('spec.issuer', issuer, wrong));
  if (audience === '') causes.push(requiredValue('spec.audience'));
  // A token alone says no more than that somebody is a customer of its issuer.
  if (claims.length === 0) causes.push(requiredValue('spec.claims', 'say which tokens of the issuer are meant'));
  for (const [index, condition] of claims.entries())
    causes.push(...conditionCauses(condition, `spec.claims[${index}]`));
  causes.push(...nameCauses(serviceAccountName, 'subdomain', 'spec.serviceAccountName'));
  return causes;
}

function conditionCauses({ claim, value, pattern }: Condition, field: string): readonly StatusCause[] {
  if (claim === '') return [requiredValue(`${field}.claim`)];
  if ((value === undefined) === (pattern === undefined)) {
    return [requiredValue(`${field}.value`, 'a condition has either a value or a pattern')];
  }
  if (pattern !== undefined && /^\**$/.test(pattern)) {
    return [invalidValue(`${field}.pattern`, pattern, 'must say more than that there is something')];
  }
  return value === '' ? [requiredValue(`${field}.value`)] : [];
}

/** Whether a token says what a rule asks for. Its signature and its times are the caller's to check. */
export function isTrusted({ issuer, audience, claims }: TrustRuleObject['spec'], token: JWTPayload): boolean {
  // For several audiences at once means that each of them could use it here.
  const isForUs = token.aud === audience || (Array.isArray(token.aud) && token.aud.every((each) => each === audience));
  return (
    token.iss === issuer &&
    isForUs &&
    token.aud?.length !== 0 &&
    claims.length > 0 &&
    claims.every((condition) => isMet(condition, token))
  );
}

function isMet({ claim, value, pattern }: Condition, token: JWTPayload): boolean {
  const said = Object.hasOwn(token, claim) ? token[claim] : undefined;
  if (typeof said !== 'string' && typeof said !== 'number' && typeof said !== 'boolean') return false;
  return pattern === undefined ? String(said) === value : isGlobMatch(pattern, String(said));
}

/** Signatures by a key pair; a shared secret is nobody's signature. */
const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];
const maxTokenLength = 16 * 1024;
const clockToleranceSeconds = 30;
const maxAgeSeconds = 86_400;

/** Which service account to be, when there are several. */
export interface KeylessWish {
  readonly namespace?: string;
  readonly serviceAccount?: string;
}

/** Takes a token of a CI system for a service account, as the trust rules say: no secret has to be kept there. */
export class KeylessExchange {
  readonly #store: ObjectStore;
  readonly #keys: IssuerKeys;
  readonly #now: () => Date;

  constructor(store: ObjectStore, keys: IssuerKeys = new IssuerKeys(), now: () => Date = () => new Date()) {
    this.#store = store;
    this.#keys = keys;
    this.#now = now;
  }

  /**
   * Only issuers that a rule names are ever contacted.
   *
   * @param idToken a JWT (OpenID Connect Core 1.0, section 2)
   * @returns undefined when no rule trusts the token, or rules for several service accounts do and none was named
   */
  async exchange(
    idToken: string,
    wish: KeylessWish = {},
  ): Promise<{ readonly namespace: string; readonly name: string; readonly uid: string } | undefined> {
    const issuer = issuerOf(idToken);
    if (issuer === undefined) return undefined;
    const rules = await this.#rulesOf(issuer, wish);
    if (rules.length === 0) return undefined;
    const token = await this.#verify(idToken, issuer);
    if (token === undefined) return undefined;
    const accounts = new Map<string, { readonly namespace: string; readonly name: string }>();
    for (const { metadata, spec } of rules) {
      const account = { namespace: metadata.namespace!, name: spec.serviceAccountName };
      if (isTrusted(spec, token)) accounts.set(`${account.namespace}/${account.name}`, account);
    }
    const [account, ...others] = accounts.values();
    if (account === undefined || others.length > 0) return undefined;
    const found = await this.#store.find({ resource: 'serviceaccounts', ...account });
    if (found === undefined || found.metadata.deletionTimestamp !== undefined) return undefined;
    return { ...account, uid: found.metadata.uid };
  }

  async #rulesOf(issuer: string, { namespace, serviceAccount }: KeylessWish): Promise<readonly TrustRuleObject[]> {
    const query = { resource: trustRulesResource, lookup: issuer, ...(namespace !== undefined && { namespace }) };
    const found: TrustRuleObject[] = [];
    for await (const rule of allObjects(this.#store, query)) found.push(rule as TrustRuleObject);
    return found.filter(
      ({ metadata, spec }) =>
        metadata.deletionTimestamp === undefined &&
        (serviceAccount === undefined || spec.serviceAccountName === serviceAccount),
    );
  }

  async #verify(idToken: string, issuer: string): Promise<JWTPayload | undefined> {
    try {
      const { payload } = await jwtVerify(idToken, await this.#keys.keysOf(issuer), {
        issuer,
        algorithms,
        requiredClaims: ['exp', 'iat', 'aud', 'sub'],
        clockTolerance: clockToleranceSeconds,
        maxTokenAge: maxAgeSeconds,
        currentDate: this.#now(),
      });
      return payload;
    } catch (error) {
      if (error instanceof errors.JOSEError || error instanceof IssuerError || error instanceof TypeError)
        return undefined;
      throw error;
    }
  }
}

/** Who says to have signed a token; undefined when it is none that could be looked at further. */
function issuerOf(token: string): string | undefined {
  if (token.length > maxTokenLength) return undefined;
  try {
    const { alg } = decodeProtectedHeader(token);
    return alg !== undefined && algorithms.includes(alg) ? decodeJwt(token).iss : undefined;
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof TypeError) return undefined;
    throw error;
  }
}
