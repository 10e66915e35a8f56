import type { Command } from 'commander';
import { UsageError } from '../usage-error.js';
import { ApiClient, apiPath } from './api-client.js';
import { clientCommand, withServerOptions } from './client-command.js';
import { ClientError } from './client-error.js';
import { findTrust, type ConnectionOptions, type KnownTrust } from './connection.js';
import { defaultCredentialPath, putCredentials } from './docker-credentials.js';
import { Kubeconfig, kubeconfigPaths, type KubeContext } from './kubeconfig.js';
import { logInWithPassword } from './oauth-login.js';
import { plainText } from './plain-text.js';
import { listProjects } from './projects.js';
import { parseServerUrl } from './server-url.js';
import type { Terminal } from './terminal.js';
import { selfSubjectReviewSchema } from './wire.js';

interface LoginOptions extends ConnectionOptions {
  readonly username?: string;
  readonly password?: string;
  readonly passwordStdin?: true;
  /** A file, or true for the usual one. */
  readonly registry?: string | true;
}

/** `weir login`: a token for a password, kept where `oc`, `kubectl`, docker and podman find it. */
export function loginCommand(terminal: Terminal): Command {
  const command = clientCommand('login', {
    description: 'log in to a server, for weir and for every program that reads the kubeconfig',
    summary: 'log in to a server',
    examples: [
      'weir login registry.example               ask for a user name and a password',
      'weir login registry.example -u ada        ask for the password',
      'weir login registry.example -u ci --password-stdin < secret',
      'weir login localhost:5000 -u admin --ca weir-data/tls/ca.crt',
      'WEIR_TOKEN=sha256~… weir login HOST       with a token instead of a password',
      'weir login registry.example --registry    also for docker and podman',
    ],
    notes: [
      'Writes what "oc login" writes: a cluster, a user and a context in $KUBECONFIG or ~/.kube/config. A password is',
      'never kept; the token that is kept instead runs out. "weir login" with no host renews the login that is current.',
    ],
  })
    .argument('[host]', 'host, host:port or URL of the server')
    .option('-u, --username <name>', 'who logs in')
    .option('-p, --password <password>', 'the password; others see it in the list of processes')
    .option('--password-stdin', 'read the password from standard input')
    .option('--registry [file]', 'keep the token for docker and podman, too (where "podman login" would)');
  return withServerOptions(command).action(async (host: string | undefined, options: LoginOptions) => {
    await logIn(terminal, host, options);
  });
}

async function logIn(terminal: Terminal, host: string | undefined, options: LoginOptions): Promise<void> {
  if (options.password !== undefined && options.passwordStdin === true) {
    throw new UsageError('give either --password or --password-stdin');
  }
  const kubeconfig = await Kubeconfig.read(kubeconfigPaths(terminal));
  const server = serverOf(terminal, host, options, kubeconfig);
  const context = kubeconfig.contextOf(server);
  const trust = await findTrust(terminal, options, { server, context });
  const token = await obtainToken(terminal, options, { server, context, trust });
  const api = new ApiClient({ server, token, trust }, terminal.note);
  const user = await whoAmI(api);
  const projects = (await listProjects(api)).map(({ name }) => name);
  const namespace = chooseProject(projects, context?.namespace);
  const path = await kubeconfig.logIn({ server, user, token, namespace, ...trust });

  terminal.print(`Logged in to ${server.host} as ${plainText(user)}; ${path} has the token.\n`);
  if (trust.isInsecure && server.protocol === 'https:') {
    terminal.note(
      `warning: whoever answers for ${server.host} is trusted, and could read the password and the token\n`,
    );
  }
  terminal.print(
    namespace === undefined
      ? 'There is no project that you may see.\n'
      : `Using project ${plainText(namespace)} of ${projects.length} ("weir projects" lists them).\n`,
  );
  if (options.registry !== undefined) {
    const registryPath = options.registry === true ? defaultCredentialPath(terminal) : options.registry;
    await putCredentials(registryPath, server.host, token);
    terminal.print(`docker and podman find the token in ${registryPath}.\n`);
  }
}

function serverOf(terminal: Terminal, host: string | undefined, options: LoginOptions, kubeconfig: Kubeconfig): URL {
  const named = [host, options.server].filter((text) => text !== undefined).map(parseServerUrl);
  if (named.length === 2 && named[0]!.origin !== named[1]!.origin) {
    throw new UsageError('the server is named twice, and differently');
  }
  const fromEnvironment = terminal.environment['WEIR_SERVER'];
  if (named[0] !== undefined) return named[0];
  if (fromEnvironment) return parseServerUrl(fromEnvironment);
  const current = kubeconfig.current?.server;
  if (current === undefined) throw new UsageError('name the server: weir login HOST');
  return current;
}

async function obtainToken(
  terminal: Terminal,
  options: LoginOptions,
  {
    server,
    context,
    trust,
  }: { readonly server: URL; readonly context: KubeContext | undefined; readonly trust: KnownTrust },
): Promise<string> {
  const { username, password, passwordStdin } = options;
  const isByPassword = username !== undefined || password !== undefined || passwordStdin === true;
  const token = options.token ?? terminal.environment['WEIR_TOKEN'];
  if (options.token !== undefined && isByPassword) throw new UsageError('give either a token or a user and a password');
  if (token && !isByPassword) return token.trim();

  const lastUser = context?.userName?.split('/')[0] ?? '';
  const name = username ?? (await askName(terminal, server, lastUser));
  const given = passwordStdin === true ? await terminal.readInput() : password;
  return logInWithPassword(
    { server, trust },
    { name, password: given ?? (await terminal.askSecret(`Password of ${name} at ${server.host}: `)) },
  );
}

/** Nothing typed is who logged in before. */
async function askName(terminal: Terminal, server: URL, lastUser: string): Promise<string> {
  const hint = lastUser === '' ? '' : ` [${plainText(lastUser)}]`;
  const answered = (await terminal.ask(`User name at ${server.host}${hint}: `)).trim();
  return answered === '' ? lastUser : answered;
}

async function whoAmI(api: ApiClient): Promise<string> {
  const { value } = await api.post(apiPath('authentication.k8s.io', 'selfsubjectreviews'), selfSubjectReviewSchema, {
    kind: 'SelfSubjectReview',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: {},
  });
  const { username } = value.status.userInfo;
  if (username === '' || username === 'system:anonymous')
    throw new ClientError(`${api.host} knows nobody of this token`);
  return username;
}

/** As `oc login` chooses: the project of the last login, `default`, or the first by name. */
function chooseProject(projects: readonly string[], last: string | undefined): string | undefined {
  if (last !== undefined && projects.includes(last)) return last;
  return projects.includes('default') ? 'default' : [...projects].sort()[0];
}
