import type Router from '@koa/router';
import type { Context } from 'koa';
import { imageGroup } from '../auth/authorize.js';
import type { Principal } from '../auth/principal.js';
import type { AccessRequest } from '../auth/rules.js';
import { singleQuery } from '../http.js';
import { OciError } from '../oci/errors.js';
import { decodeReason, parseReason, ReasonError, reasonHeader } from '../oci/reason.js';
import { parseTag } from '../oci/reference.js';
import type { RepositoryName } from '../oci/repository-name.js';
import { discardBody, receiveForm } from './archive-request.js';
import type { ArchiveImport, StoreRequest } from './archive-import.js';
import type { ArchiveStaging } from './archive-staging.js';
import type { RegistryEntrance } from './registry-entrance.js';

/** Of a body that is the archive itself; whether it is compressed is looked up in it. */
const archiveTypes: readonly string[] = [
  '',
  'application/x-tar',
  'application/tar',
  'application/gzip',
  'application/x-gzip',
  'application/octet-stream',
];

/** A received archive, and the fields that came with it. */
interface Received {
  readonly staging: ArchiveStaging;
  readonly fields: ReadonlyMap<string, string>;
}

/**
 * Images out of an archive, into repositories of a project: an extension of Weir, and so under a name of its own beside
 * those of OpenShift's registry. It is under the project and no repository, because the archive may hold images for
 * several. Takes the right to push somewhere in the project before anything is read, and that to push to each repository
 * before anything is in it.
 */
export function archiveRoutes(router: Router, { access, parseName }: RegistryEntrance, archives: ArchiveImport): void {
  router.post('/extensions/weir/v1/projects/:project/archives', async (ctx) => {
    const project = ctx.params['project']!;
    const inProject = (path: string): RepositoryName => parseName(`${project}/${path}`);
    // The project is in the path already; who writes it again means the same.
    const parseRepository = (text: string) => (text.startsWith(`${project}/`) ? parseName(text) : inProject(text));
    const owner = inProject('archive');
    const query = { repository: filled(singleQuery(ctx, 'repository')), tag: filled(singleQuery(ctx, 'tag')) };
    const named = query.repository === undefined ? undefined : parseRepository(query.repository);
    const admit = (repository: RepositoryName): Promise<Principal> => access.requireRepository(ctx, repository, 'push');
    const { name: principal } = await (named === undefined
      ? access.requireRole(ctx, pushSomewhere(project))
      : admit(named));

    const { staging, fields } = await receive(ctx, archives, { repository: owner, principal });
    try {
      const repository = onlyOne('repository', query.repository, filled(fields.get('repository')));
      const tag = onlyOne('tag', query.tag, filled(fields.get('tag')));
      const request: StoreRequest = {
        repository: repository === undefined ? undefined : parseRepository(repository),
        tag: tag === undefined ? undefined : parseTag(tag),
        reason: reasonOf(ctx, fields.get('reason')),
        inProject,
        admit,
      };
      const result = await archives.store(staging, request);
      ctx.status = 201;
      ctx.body = result;
    } finally {
      await staging.discard();
    }
  });
}

/** Who may push to some repositories only has to name the one that is meant before the body. */
function pushSomewhere(project: string): AccessRequest {
  return { kind: 'resource', verb: 'update', group: imageGroup, resource: 'imagestreams/layers', namespace: project };
}

async function receive(
  ctx: Context,
  archives: ArchiveImport,
  owner: { readonly repository: RepositoryName; readonly principal: string },
): Promise<Received> {
  const contentType = ctx.get('Content-Type').split(';', 1)[0]!.trim().toLowerCase();
  try {
    if (contentType === 'multipart/form-data') {
      const { file: staging, fields } = await receiveForm(ctx.req, {
        fields: ['repository', 'tag', 'reason'],
        file: 'archive',
        receive: (file) => archives.receive(file, owner),
        discard: (received) => received.discard(),
      });
      return { staging, fields };
    }
    if (!archiveTypes.includes(contentType)) {
      const expected = ['multipart/form-data with a file "archive"', ...archiveTypes.slice(1)];
      throw new OciError('UNSUPPORTED', { contentType: contentType.slice(0, 100), expected }, { status: 415 });
    }
    return { staging: await archives.receive(ctx.req, owner), fields: new Map() };
  } catch (error) {
    discardBody(ctx.req);
    throw error;
  }
}

function filled(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

/** Of two values two readers might choose differently. */
function onlyOne(name: string, inQuery: string | undefined, inForm: string | undefined): string | undefined {
  if (inQuery === undefined || inForm === undefined || inQuery === inForm) return inForm ?? inQuery;
  throw new OciError('UNSUPPORTED', `the query and the form name a different ${name}`, { status: 400 });
}

/** @throws {OciError} with status 400 when the reason is none */
function reasonOf(ctx: Context, field: string | undefined): string | undefined {
  try {
    return parseReason(field ?? '') ?? decodeReason(ctx.get(reasonHeader));
  } catch (error) {
    if (!(error instanceof ReasonError)) throw error;
    throw new OciError('UNSUPPORTED', error.message, { status: 400 });
  }
}
