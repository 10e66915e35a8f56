import { ApiClient, apiPath } from './api-client.js';
import { ClientError } from './client-error.js';
import { findTrust, isToken, type ConnectionOptions, type Session } from './connection.js';
import { credentialPaths, findCredentials } from './docker-credentials.js';
import type { Trust } from './json-request.js';
import { Kubeconfig, kubeconfigPaths, tokenOf } from './kubeconfig.js';
import { logInWithPassword } from './oauth-login.js';
import type { TokenSource } from './registry-push.js';
import type { Terminal } from './terminal.js';
import { projectSchema } from './wire.js';

/** How the server of a session is pushed to. */
export interface PushLogin {
  readonly trust: Trust;
  readonly tokens: TokenSource;
}

/**
 * The login of the session, for its registry: the token is the same one, and is looked for again when it has run out.
 * A registry takes it as it is (Bearer).
 */
export async function pushLoginOf(
  terminal: Terminal,
  options: ConnectionOptions,
  { server, context }: Session,
): Promise<PushLogin> {
  const trust = await findTrust(terminal, options, { server, context });
  const named = (options.token ?? terminal.environment['WEIR_TOKEN'] ?? '').trim();
  const find = async (): Promise<string | undefined> => {
    if (named !== '') return named;
    // Read anew, as somebody may have logged in again meanwhile, and service accounts get new tokens in their files.
    const current = (await Kubeconfig.read(kubeconfigPaths(terminal))).contextOf(server);
    const token = current && (await tokenOf(current));
    if (token !== undefined) return token;
    const found = await findCredentials(credentialPaths(terminal), server.host);
    if (found === undefined) return undefined;
    return isToken(found.password) ? found.password : logInWithPassword({ server, trust }, found);
  };
  return { trust, tokens: find };
}

/** What projects are looked at and made with. */
export interface CopiedProjectsOptions {
  readonly session: Session;
  readonly login: PushLogin;
  readonly note: (text: string) => void;
  readonly isDryRun: boolean;
}

/** The projects that repositories are copied into. */
export class CopiedProjects {
  readonly #options: CopiedProjectsOptions;
  #api: ApiClient;

  constructor(options: CopiedProjectsOptions) {
    this.#options = options;
    this.#api = options.session.api;
  }

  /**
   * Sees to it that a project is there, and makes it when it is not.
   *
   * @param checkMayPush for who may push into a project without seeing it
   * @returns whether it was made, or in a dry run would be
   * @throws {ClientError} when it is not there and the caller may make none
   */
  async ensure(name: string, checkMayPush: () => Promise<void>): Promise<boolean> {
    try {
      return await this.#ensure(name, checkMayPush);
    } catch (error) {
      if (!isStatus(error, 401)) throw error;
    }
    const { session, login, note } = this.#options;
    this.#api = new ApiClient({ server: session.server, token: await login.tokens(), trust: login.trust }, note);
    return this.#ensure(name, checkMayPush);
  }

  async #ensure(name: string, checkMayPush: () => Promise<void>): Promise<boolean> {
    const { isDryRun } = this.#options;
    try {
      await this.#api.get(apiPath('project.openshift.io', 'projects', name), projectSchema);
      return false;
    } catch (error) {
      // What is not there and what one may not see are refused alike.
      if (!isStatus(error, 403, 404)) throw error;
    }
    const request = { kind: 'ProjectRequest', apiVersion: 'project.openshift.io/v1', metadata: { name } };
    try {
      await this.#api.post(apiPath('project.openshift.io', 'projectrequests'), projectSchema, request, { isDryRun });
      return true;
    } catch (error) {
      // Somebody else made it; whether one may push there is seen then.
      if (isStatus(error, 409)) return false;
      if (!isStatus(error, 403, 422)) throw error;
      if (!isDryRun && (await succeeds(checkMayPush))) return false;
      throw new ClientError(
        `the project ${name} is not there or not for you, and you cannot make it (${(error as Error).message}); ` +
          'have it made, or copy into one of your own with --project NAME',
        { cause: error },
      );
    }
  }
}

async function succeeds(check: () => Promise<void>): Promise<boolean> {
  try {
    await check();
    return true;
  } catch (error) {
    if (error instanceof ClientError) return false;
    throw error;
  }
}

function isStatus(error: unknown, ...statuses: readonly number[]): boolean {
  return error instanceof ClientError && error.status !== undefined && statuses.includes(error.status);
}
