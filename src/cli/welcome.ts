import { dirname } from 'node:path';

/** What a new user must know of a registry that has just started. */
export interface Welcome {
  readonly version: string;
  /** What clients call it. */
  readonly url: string;
  /** Where it listens, which differs behind a proxy. */
  readonly listenUrl: string;
  readonly dataDir: string;
  readonly caCertificatePath: string | undefined;
  /** Where the generated password of user admin is. */
  readonly passwordPath: string | undefined;
}

/** In less than one screen: where everything is, and lines to paste that log in, push and pull. */
export function welcome({ version, url, listenUrl, dataDir, caCertificatePath, passwordPath }: Welcome): string {
  const { host, protocol } = new URL(url);
  const image = `${host}/hello:v1`;
  const trust =
    caCertificatePath !== undefined
      ? ` --cert-dir ${quote(dirname(caCertificatePath))}`
      : protocol === 'http:'
        ? ' --tls-verify=false'
        : '';
  const password = passwordPath === undefined ? '' : ` --password-stdin < ${quote(passwordPath)}`;
  const build = `printf 'FROM scratch\\nLABEL hello=weir\\n' |`;
  return [
    `Weir ${version} is serving ${url}`,
    '',
    ...(listenUrl === url ? [] : [`  listening at    ${listenUrl}`]),
    `  data            ${dataDir}`,
    ...(caCertificatePath === undefined ? [] : [`  CA certificate  ${caCertificatePath}`]),
    ...(passwordPath === undefined ? [] : [`  first password  ${passwordPath} (user admin)`]),
    '',
    'With podman:',
    `  podman login${trust} -u admin${password} ${host}`,
    `  ${build} podman build -t ${image} -f - .`,
    `  podman push${trust} ${image}`,
    `  podman pull${trust} ${image}`,
    '',
    'With docker:',
    `  docker login -u admin${password} ${host}`,
    `  ${build} docker build -t ${image} -`,
    `  docker push ${image}`,
    ...(caCertificatePath === undefined
      ? []
      : [`  (from another machine, first copy the CA certificate to /etc/docker/certs.d/${host}/ca.crt)`]),
    '',
    'Stop with Ctrl-C. "npx weir --help" shows what else there is.',
    '',
  ].join('\n');
}

/** A path as a shell takes it. */
function quote(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
