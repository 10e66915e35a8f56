import { copyFileSync } from 'node:fs';
import type { Site } from './suite.js';

/** A directory as the option `--cert-dir` of podman, buildah and skopeo wants it: the authority is in a file `*.crt`. */
export function trustByDirectory({ weir, workspace }: Site): string {
  const directory = workspace.makeDirectory('certificates');
  copyFileSync(weir.caFile, `${directory}/ca.crt`);
  return directory;
}

/** For clients written in Go that have no option: the only authority they trust is then this one. */
export function trustByEnvironment({ weir }: Site): Record<string, string> {
  return { SSL_CERT_FILE: weir.caFile, SSL_CERT_DIR: '/nonexistent' };
}
