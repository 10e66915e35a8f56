import { describe, expect, test } from 'vitest';
import { failureOf, statusOf, type ImportFailure } from '../../src/imports/import-failure.js';
import { UpstreamError, type UpstreamProblem } from '../../src/upstream/upstream.js';

const what = 'quay.io/team/app:v1';

interface Told {
  readonly message?: string;
  readonly answer?: string;
  readonly credential?: string;
  readonly retryAfterMs?: number;
}

function failure(problem: UpstreamProblem, { message = 'it broke', ...told }: Told = {}, of = what): ImportFailure {
  return failureOf(new UpstreamError(problem, message, { reference: of, ...told }), of, 'image');
}

describe('a failure is told in the words that clients look for', () => {
  test.each<{
    readonly problem: UpstreamProblem;
    readonly told?: Told;
    readonly reason: string;
    readonly text: string;
  }>([
    {
      problem: 'not-found',
      reason: 'NotFound',
      text: `dockerimage.image.openshift.io "${what}" not found (credential shown: none)`,
    },
    {
      problem: 'unauthorized',
      reason: 'Unauthorized',
      text: `you may not have access to the container image "${what}" and did not have credentials to the repository (credential shown: none)`,
    },
    {
      problem: 'unauthorized',
      told: { credential: 'secret team/pull', answer: 'go away' },
      reason: 'Unauthorized',
      text: `incorrect username or password for image "${what}" (credential shown: secret team/pull; the registry said: go away)`,
    },
    {
      problem: 'denied',
      told: { credential: 'secret team/pull' },
      reason: 'Unauthorized',
      text: `you may not have access to the container image "${what}" (credential shown: secret team/pull)`,
    },
    {
      problem: 'http-only',
      reason: 'BadRequest',
      text: `the repository ${what} is HTTP only and requires the insecure flag to import`,
    },
    { problem: 'blocked', reason: 'Forbidden', text: `${what} is forbidden: registry quay.io blocked` },
    { problem: 'forbidden-address', reason: 'Forbidden', text: `${what} is forbidden: it broke` },
    { problem: 'rate-limited', reason: 'TooManyRequests', text: `Internal error occurred: ${what}: it broke` },
    { problem: 'budget', reason: 'TooManyRequests', text: `Internal error occurred: ${what}: it broke` },
    {
      problem: 'unavailable',
      told: { answer: 'back soon' },
      reason: 'ServiceUnavailable',
      text: `Internal error occurred: ${what}: it broke (the registry said: back soon)`,
    },
    {
      problem: 'integrity',
      reason: 'InternalError',
      text: `Internal error occurred: ${what}: content integrity error: it broke`,
    },
    { problem: 'certificate', reason: 'InternalError', text: `Internal error occurred: ${what}: it broke` },
    { problem: 'invalid-answer', reason: 'InternalError', text: `Internal error occurred: ${what}: it broke` },
    {
      problem: 'not-v2',
      reason: 'InternalError',
      text: 'Internal error occurred: registry "quay.io" does not support the v2 Registry API',
    },
  ])('$problem: $reason', ({ problem, told, reason, text }) => {
    expect(failure(problem, told)).toEqual({ reason, message: text });
  });

  test('of a whole repository that no registry has', () => {
    const error = new UpstreamError('not-v2', 'it broke', { reference: 'quay.io/team/app' });
    expect(failureOf(error, 'quay.io/team/app', 'repository')).toEqual({
      reason: 'NotV2Registry',
      message: 'registry "quay.io" does not support the v2 Registry API',
    });
  });

  test.each(['busybox', 'library/busybox:1', 'docker.io/library/busybox'])('of %s, which is of Docker Hub', (name) => {
    expect(failure('blocked', {}, name).message).toBe(`${name} is forbidden: registry docker.io blocked`);
  });
});

test('when it makes sense to try again is known of those that pass', () => {
  const retryAfterMs = 5000;
  for (const problem of ['rate-limited', 'budget', 'unavailable'] as const) {
    expect(failure(problem, { retryAfterMs }).retryAfterMs).toBe(5000);
  }
});

test.each([
  ['NotFound', 404],
  ['Unauthorized', 401],
  ['Forbidden', 403],
  ['BadRequest', 400],
  ['Invalid', 422],
  ['NotV2Registry', 403],
  ['TooManyRequests', 429],
  ['ServiceUnavailable', 503],
  ['InternalError', 500],
] as const)('the status of %s has the code %d', (reason, code) => {
  expect(statusOf({ reason, message: 'why' })).toEqual({
    metadata: {},
    status: 'Failure',
    message: 'why',
    reason,
    code,
  });
});
