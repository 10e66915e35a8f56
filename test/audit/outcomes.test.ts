import { describe, expect, test } from 'vitest';
import { outcomeOf, type AnsweredRequest } from '../../src/audit/outcomes.js';

/** A request of a user that changes something and succeeds. */
const change: AnsweredRequest = {
  method: 'PUT',
  path: '/v2/team/app/manifests/v1',
  status: 201,
  isDryRun: false,
  namesBlob: false,
  showsCredentials: true,
  isLogin: false,
  isFromUser: true,
};
const anonymous = { showsCredentials: false, isFromUser: false };
const uploads = '/v2/team/app/blobs/uploads/';

interface Row extends Partial<AnsweredRequest> {
  readonly name: string;
  readonly outcome: 'allowed' | 'denied' | 'failed' | undefined;
}

describe('what is recorded of', () => {
  test.each<Row>([
    { name: 'a 403', status: 403, outcome: 'denied' },
    { name: 'a 403 to a GET', method: 'GET', status: 403, outcome: 'denied' },
    { name: 'a 403 to a HEAD', method: 'HEAD', status: 403, outcome: 'denied' },
    { name: 'a 403 to nobody', status: 403, ...anonymous, outcome: 'denied' },
    { name: 'a 403 to a dry run', status: 403, isDryRun: true, outcome: 'denied' },
    { name: 'a 401 with credentials', status: 401, isFromUser: false, outcome: 'denied' },
    { name: 'a 401 with credentials to a GET', method: 'GET', status: 401, isFromUser: false, outcome: 'denied' },
    { name: 'a 401 without credentials', status: 401, ...anonymous, outcome: undefined },
    { name: 'a failed login by form', method: 'POST', isLogin: true, status: 401, ...anonymous, outcome: 'denied' },
    { name: 'the challenge of a login', method: 'GET', isLogin: true, status: 401, ...anonymous, outcome: undefined },
    { name: 'a login by form', method: 'POST', isLogin: true, status: 200, ...anonymous, outcome: undefined },
    { name: 'a malformed login', method: 'POST', isLogin: true, status: 400, ...anonymous, outcome: undefined },
  ])('$name is $outcome', ({ outcome, ...request }) => {
    expect(outcomeOf({ ...change, ...request })).toBe(outcome);
  });

  test.each<Row>([
    { name: 'a manifest that was put', outcome: 'allowed' },
    { name: 'a change by nobody in particular', ...anonymous, outcome: 'allowed' },
    { name: 'a redirect after a change', method: 'POST', status: 303, outcome: 'allowed' },
    { name: 'a patch', method: 'PATCH', path: '/api/v1/namespaces/team/secrets/s', status: 200, outcome: 'allowed' },
    { name: 'a deletion', method: 'DELETE', path: '/v2/team/app/blobs/sha256:0', status: 202, outcome: 'allowed' },
    { name: 'a change that was tried out', isDryRun: true, outcome: undefined },
    { name: 'a failure that was tried out', isDryRun: true, status: 409, outcome: undefined },
    { name: 'a GET', method: 'GET', status: 200, outcome: undefined },
    { name: 'a HEAD', method: 'HEAD', status: 200, outcome: undefined },
    { name: 'an OPTIONS', method: 'OPTIONS', status: 204, outcome: undefined },
    { name: 'a GET that failed', method: 'GET', status: 404, outcome: undefined },
    { name: 'a bad request', status: 400, outcome: 'failed' },
    { name: 'a change of what is not there', status: 404, outcome: 'failed' },
    { name: 'a conflict', status: 409, outcome: 'failed' },
    { name: 'an invalid object', status: 422, outcome: 'failed' },
    { name: 'a failure of ours', status: 500, outcome: 'failed' },
    { name: 'a failure for nobody in particular', status: 404, ...anonymous, outcome: undefined },
  ])('$name is $outcome', ({ outcome, ...request }) => {
    expect(outcomeOf({ ...change, ...request })).toBe(outcome);
  });

  test.each<Row>([
    { name: 'begun', method: 'POST', path: uploads, status: 202, outcome: undefined },
    {
      name: 'begun, without the last slash',
      method: 'POST',
      path: uploads.slice(0, -1),
      status: 202,
      outcome: undefined,
    },
    { name: 'begun with a digest', method: 'POST', path: uploads, status: 202, namesBlob: true, outcome: undefined },
    { name: 'done in one', method: 'POST', path: uploads, status: 201, namesBlob: true, outcome: 'allowed' },
    { name: 'failed in one', method: 'POST', path: uploads, status: 400, namesBlob: true, outcome: 'failed' },
    { name: 'not begun', method: 'POST', path: uploads, status: 404, outcome: undefined },
    { name: 'refused', method: 'POST', path: uploads, status: 403, outcome: 'denied' },
    { name: 'continued', method: 'PATCH', path: `${uploads}1`, status: 202, outcome: undefined },
    { name: 'not continued', method: 'PATCH', path: `${uploads}1`, status: 416, outcome: undefined },
    { name: 'asked for', method: 'GET', path: `${uploads}1`, status: 204, outcome: undefined },
    { name: 'given up', method: 'DELETE', path: `${uploads}1`, status: 204, outcome: undefined },
    { name: 'finished', method: 'PUT', path: `${uploads}1`, status: 201, outcome: 'allowed' },
    { name: 'finished with the wrong digest', method: 'PUT', path: `${uploads}1`, status: 400, outcome: 'failed' },
  ])('an upload that was $name is $outcome', ({ outcome, ...request }) => {
    expect(outcomeOf({ ...change, ...request })).toBe(outcome);
  });

  test.each<Row>([
    { name: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', outcome: undefined },
    { name: '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', outcome: undefined },
    { name: '/apis/authorization.k8s.io/v1/subjectaccessreviews', outcome: undefined },
    { name: '/apis/authorization.k8s.io/v1/namespaces/team/localsubjectaccessreviews', outcome: undefined },
    { name: '/apis/authorization.openshift.io/v1/resourceaccessreviews/', outcome: undefined },
    { name: '/apis/authorization.openshift.io/v1/namespaces/team/localresourceaccessreviews', outcome: undefined },
    { name: '/apis/authorization.openshift.io/v1/namespaces/team/subjectrulesreviews', outcome: undefined },
    { name: '/apis/authentication.k8s.io/v1/tokenreviews', outcome: undefined },
    { name: '/apis/authentication.k8s.io/v1/selfsubjectreviews', outcome: undefined },
    { name: '/apis/project.openshift.io/v1/projectrequests', outcome: 'allowed' },
    { name: '/api/v1/namespaces/tokenreviews/secrets', outcome: 'allowed' },
    { name: '/v2/team/app/manifests/tokenreviews', outcome: 'allowed' },
  ])('a POST to $name is $outcome', ({ outcome, name }) => {
    expect(outcomeOf({ ...change, method: 'POST', path: name })).toBe(outcome);
  });
});
