import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { ServerCertificate } from './certificate-authority.js';

/** Where a listener gets its certificate from, again and again. */
export type CertificateSource = () => Promise<ServerCertificate>;

/** A pair of PEM files, read anew at each call. */
export function certificateFiles(certPath: string, keyPath: string): CertificateSource {
  return async () => ({ cert: await readFile(certPath, 'utf8'), key: await readFile(keyPath, 'utf8') });
}

/** The part of `https.Server` that takes another certificate while it runs. */
export interface SecureServer {
  setSecureContext(options: ServerCertificate): void;
}

/**
 * Gives a server a new certificate when its source has one. A pair that does not fit together, as may be read while
 * somebody copies two files, is refused and the old one stays.
 */
export class CertificateRefresh {
  readonly #source: CertificateSource;
  readonly #server: SecureServer;
  #current: ServerCertificate;

  constructor(source: CertificateSource, server: SecureServer, current: ServerCertificate) {
    this.#source = source;
    this.#server = server;
    this.#current = current;
  }

  /**
   * @returns whether there was a new certificate
   * @throws {Error} when the source cannot be read or what it has is no pair of key and certificate
   */
  async run(): Promise<boolean> {
    const { cert, key } = await this.#source();
    if (cert === this.#current.cert && key === this.#current.key) return false;
    checkPair(cert, key);
    this.#server.setSecureContext({ cert, key });
    this.#current = { cert, key };
    return true;
  }
}

/** TLS itself takes an empty text for a certificate, and then answers nobody. */
function checkPair(cert: string, key: string): void {
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    throw new Error('the certificate and the private key do not belong together');
  }
}
