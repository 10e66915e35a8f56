import { z } from 'zod';
import { RememberedAnswers } from '../auth/remembered-answers.js';
import { subjectMatches } from '../auth/subjects.js';
import { forbidden, qualifiedName } from '../kube/errors.js';
import { allVerbs, type Column, type Resource } from '../kube/resource.js';
import { StoredResource } from '../kube/stored-resource.js';
import { ageColumn } from '../kube/table.js';
import { allObjects, type ApiObject, type ObjectStore } from '../metadata/object-store.js';
import type { FindTagRules, TagEventCause, TagRules } from '../metadata/tag-history.js';
import { streamNameOf, type RepositoryName } from '../oci/repository-name.js';
import { tagPolicyCauses, tagPolicySpecSchema, type PolicySubject, type TagPolicySpec } from './tag-policy-spec.js';
import { isWildcardMatch } from '../oci/wildcards.js';

const names = { group: 'weir.dev', plural: 'tagpolicies', kind: 'TagPolicy', isNamespaced: true } as const;
const tagPoliciesResource = qualifiedName(names);

/** Every change of a tag asks all of its project. */
const maxPolicies = 50;

/** weir.dev TagPolicy. */
export interface TagPolicy extends ApiObject {
  readonly spec: TagPolicySpec;
}

function column(name: string, description: string, cell: (spec: TagPolicySpec) => string): Column {
  return { name, type: 'string', description, cell: (object) => cell((object as TagPolicy).spec) };
}

/** The resource of tag policies: which tags of a project may not move, what needs a reason, how much history is kept. */
export function tagPolicyResource(store: ObjectStore): Resource {
  return {
    ...names,
    version: 'v1',
    singular: 'tagpolicy',
    shortNames: ['tagpol'],
    verbs: allVerbs,
    description:
      'TagPolicy says which tags of a project may not be moved or deleted, which changes need a reason, and how many events are kept. Those of a project add up.',
    schema: z.object({ spec: tagPolicySpecSchema }),
    columns: [
      column('Streams', 'The image streams that it is for.', ({ streams = ['*'] }) => streams.join(',')),
      column('Protects', 'Tags that may not be moved or deleted.', ({ protect = [] }) =>
        protect.map(({ tags }) => tags.join(',')).join('; '),
      ),
      column('Reasons', 'Changes that need a reason.', ({ requireReason = [] }) => requireReason.join(',')),
      column('Keeps', 'So many events of each tag.', ({ keepEvents = '' }) => String(keepEvents)),
      ageColumn,
    ],
    storage: new StoredResource(store, names, {
      validate: (object) => tagPolicyCauses((object as TagPolicy).spec),
      mayWrite: async ({ namespace }, object, old) => {
        if (old !== undefined) return;
        const { objects } = await store.list({ resource: tagPoliciesResource, namespace, limit: maxPolicies });
        if (objects.length < maxPolicies) return;
        throw forbidden(names, object.metadata.name, `a project may have at most ${maxPolicies} tag policies`);
      },
    }),
  };
}

/** A rule of a policy that keeps tags where they are. */
interface Protection {
  /** As errors name it. */
  readonly rule: string;
  readonly streams: readonly string[];
  readonly included: readonly string[];
  readonly excluded: readonly string[];
  readonly overriddenBy: readonly PolicySubject[];
}

/** What a policy says of the history. */
interface HistoryRule {
  readonly streams: readonly string[];
  readonly reasonsFor: readonly TagEventCause[];
  /** Infinity: all. */
  readonly keepEvents: number;
}

/** The policies of a project, ready to be asked. */
interface ProjectPolicies {
  readonly protections: readonly Protection[];
  readonly history: readonly HistoryRule[];
}

/**
 * What the tag policies of projects say. Everything is read through the version of the last change of any of them, so a
 * change counts from the moment it is committed, by whichever process.
 */
export class TagPolicies {
  readonly #store: ObjectStore;
  readonly #policies: RememberedAnswers<ProjectPolicies>;

  constructor(store: ObjectStore) {
    this.#store = store;
    this.#policies = new RememberedAnswers(() => store.lastChangeOf([tagPoliciesResource]));
  }

  /** The rules of a project for somebody: without those that they override. */
  readonly find: FindTagRules = async (project, who): Promise<TagRules> => {
    const { protections, history } = await this.#policies.get(project, () => this.#read(project));
    const inForce = protections.filter(
      ({ overriddenBy }) => !overriddenBy.some((subject) => subjectMatches(subject, who, project)),
    );
    const historyOf = (repository: RepositoryName) => {
      const stream = streamNameOf(repository);
      return history.filter(({ streams }) => isAnyMatch(streams, stream));
    };
    return {
      guard: (repository, tag) => ruleAgainst(inForce, streamNameOf(repository), tag),
      protectedTags: (repository) => inForce.filter(({ streams }) => isAnyMatch(streams, streamNameOf(repository))),
      keepEvents: (repository) => {
        const fewest = Math.min(...historyOf(repository).map(({ keepEvents }) => keepEvents));
        return fewest === Infinity ? undefined : fewest;
      },
      reasonsFor: (repository) => [...new Set(historyOf(repository).flatMap(({ reasonsFor }) => reasonsFor))],
    };
  };

  async #read(project: string): Promise<ProjectPolicies> {
    const protections: Protection[] = [];
    const history: HistoryRule[] = [];
    for await (const object of allObjects(this.#store, { resource: tagPoliciesResource, namespace: project })) {
      const { metadata, spec } = object as TagPolicy;
      const { streams = ['*'], requireReason: reasonsFor = [], keepEvents = Infinity } = spec;
      protections.push(...protectionsOf(metadata.name, spec));
      history.push({ streams, reasonsFor, keepEvents });
    }
    return { protections, history };
  }
}

function protectionsOf(policy: string, { streams = ['*'], protect = [] }: TagPolicySpec): Protection[] {
  return protect.map(({ tags, overriddenBy = [] }) => ({
    rule: `policy ${policy}, tags ${listed(tags)}`,
    streams,
    included: tags.filter((pattern) => !pattern.startsWith('!')),
    excluded: tags.filter((pattern) => pattern.startsWith('!')).map((pattern) => pattern.slice(1)),
    overriddenBy,
  }));
}

const maxListed = 5;

function listed(patterns: readonly string[]): string {
  const more = patterns.length - maxListed;
  return `${patterns.slice(0, maxListed).join(', ')}${more > 0 ? `, and ${more} more` : ''}`;
}

function ruleAgainst(protections: readonly Protection[], stream: string, tag: string): string | undefined {
  return protections.find(
    ({ streams, included, excluded }) =>
      isAnyMatch(included, tag) && !isAnyMatch(excluded, tag) && isAnyMatch(streams, stream),
  )?.rule;
}

function isAnyMatch(patterns: readonly string[], text: string): boolean {
  return patterns.some((pattern) => isWildcardMatch(pattern, text));
}
