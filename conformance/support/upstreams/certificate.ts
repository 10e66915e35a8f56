import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CertificateAuthority } from '../../../src/tls/certificate-authority.js';

/** A certificate of an authority of its own: the files for a server, and what its clients must trust. */
export interface Certificate {
  /** Of the authority. Nothing else lies beside it, so that its folder is a `--cert-dir` of skopeo and its kin. */
  readonly caFile: string;
  /** PEM, like the next two. */
  readonly caCertificate: string;
  readonly certificate: string;
  readonly key: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

/**
 * Makes an authority and a certificate for this machine in a folder, which is made where there is none.
 *
 * @param names DNS names and IP addresses
 */
export async function makeCertificate(
  folder: string,
  names: readonly string[] = ['localhost', '127.0.0.1'],
): Promise<Certificate> {
  await mkdir(folder, { recursive: true });
  const authority = new CertificateAuthority(path.join(folder, 'authority'));
  const { cert, key } = await authority.serverCertificate(names);
  const certificateFile = path.join(folder, 'server.crt');
  const keyFile = path.join(folder, 'server.key');
  await writeFile(certificateFile, cert);
  await writeFile(keyFile, key, { mode: 0o600 });
  return {
    caFile: authority.certificatePath,
    caCertificate: await readFile(authority.certificatePath, 'utf8'),
    certificate: cert,
    key,
    certificateFile,
    keyFile,
  };
}
