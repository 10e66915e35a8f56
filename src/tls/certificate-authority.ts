import 'reflect-metadata';
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { makeFolder, writeFileDurably } from '../durable-files.js';
import type { KeyRecords } from '../metadata/key-records.js';

const dayMs = 86_400_000;
const caLifetimeMs = 3650 * dayMs;
const serverLifetimeMs = 90 * dayMs;
/** A certificate is renewed when less than this is left of it. */
const renewBeforeMs = 30 * dayMs;
const purpose = 'certificate-authority';
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

x509.cryptoProvider.set(webcrypto);

type PairName = 'ca' | 'server';

/** PEM texts for a TLS server. */
export interface ServerCertificate {
  readonly cert: string;
  readonly key: string;
}

/** How a certificate authority is opened. */
export interface CertificateAuthorityOptions {
  /** Where its certificate and key are, for all processes that share them; in the folder when left out. */
  readonly keys?: KeyRecords;
  readonly now?: () => Date;
}

/**
 * A certificate authority of our own. Its folder has `ca.crt` for clients to trust, and in `private/` a server certificate
 * signed by it, which is this machine's. Nothing but `ca.crt` may lie beside it: the folder is what podman takes as
 * `--cert-dir`.
 *
 * The authority's own key is one of the shared keys. One that an earlier version left in `private/` becomes the first of
 * them when there is none; its file stays, for those who go back to that version, and is not looked at again.
 */
export class CertificateAuthority {
  readonly #folder: string;
  readonly #keys: KeyRecords | undefined;
  readonly #now: () => Date;
  #shared: { readonly id: string; readonly pair: ServerCertificate } | undefined;

  constructor(folder: string, { keys, now = () => new Date() }: CertificateAuthorityOptions = {}) {
    this.#folder = folder;
    this.#keys = keys;
    this.#now = now;
  }

  /** The file that clients trust. */
  get certificatePath(): string {
    return join(this.#folder, 'ca.crt');
  }

  /**
   * The server certificate on file, or a new one when there is none, it nears its end, or it lacks one of the names.
   * The authority itself is made when there is none.
   *
   * @param names DNS names and IP addresses
   * @throws {UnreadableKeyError} when this process cannot decrypt the key that others have stored
   */
  async serverCertificate(names: readonly string[]): Promise<ServerCertificate> {
    await makeFolder(join(this.#folder, 'private'), 0o755);
    const authority = await this.#openAuthority();
    const current = await this.#read('server');
    if (current !== undefined && (await this.#isGood(current, authority, names))) return current;
    return this.#makeServerCertificate(authority, names);
  }

  async #openAuthority(): Promise<ServerCertificate> {
    const onFile = await this.#read('ca');
    if (this.#keys === undefined) return onFile ?? this.#write('ca', await this.#makeAuthority());
    let shared = await this.#findShared(this.#keys);
    if (shared === undefined) {
      const pair = onFile ?? (await this.#makeAuthority());
      const id = new x509.X509Certificate(pair.cert).serialNumber;
      // Refused when another process was faster, whose authority it is then.
      await this.#keys.addFirst(purpose, [{ id, createdAt: this.#now(), text: JSON.stringify(pair) }]);
      shared = await this.#findShared(this.#keys);
      if (shared === undefined) throw new Error('the certificate authority was removed while it was read');
    }
    const isPublished =
      existsSync(this.certificatePath) && (await readFile(this.certificatePath, 'utf8')) === shared.cert;
    if (!isPublished) await writeFileDurably(this.certificatePath, shared.cert, 0o644);
    return shared;
  }

  async #findShared(keys: KeyRecords): Promise<ServerCertificate | undefined> {
    const [newest] = await keys.list(purpose);
    if (newest === undefined) return undefined;
    if (this.#shared?.id !== newest.id) {
      const text = await keys.find(purpose, newest.id);
      if (text === undefined) return undefined;
      this.#shared = { id: newest.id, pair: JSON.parse(text) as ServerCertificate };
    }
    return this.#shared.pair;
  }

  async #isGood(current: ServerCertificate, authority: ServerCertificate, names: readonly string[]): Promise<boolean> {
    const certificate = new x509.X509Certificate(current.cert);
    const issuer = new x509.X509Certificate(authority.cert);
    const covered = certificate
      .getExtension(x509.SubjectAlternativeNameExtension)
      ?.names.items.map((name) => name.value);
    return (
      certificate.notAfter.getTime() - this.#now().getTime() > renewBeforeMs &&
      names.every((name) => covered?.includes(name)) &&
      isPair(current) &&
      (await certificate.verify({ publicKey: issuer.publicKey, signatureOnly: true }))
    );
  }

  async #makeAuthority(): Promise<ServerCertificate> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serialNumber(),
      name: `CN=Weir CA (${hostname()})`,
      ...this.#validFor(caLifetimeMs),
      keys,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return { cert: certificate.toString('pem'), key: await toPem(keys.privateKey) };
  }

  async #makeServerCertificate(authority: ServerCertificate, names: readonly string[]): Promise<ServerCertificate> {
    const issuer = new x509.X509Certificate(authority.cert);
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: 'CN=Weir',
      issuer: issuer.subject,
      ...this.#validFor(serverLifetimeMs),
      publicKey: keys.publicKey,
      signingKey: await fromPem(authority.key),
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const),
        ),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ],
    });
    return this.#write('server', { cert: certificate.toString('pem'), key: await toPem(keys.privateKey) });
  }

  /** A little in the past, for clients whose clock is behind. */
  #validFor(lifetimeMs: number): { readonly notBefore: Date; readonly notAfter: Date } {
    const now = this.#now().getTime();
    return { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + lifetimeMs) };
  }

  async #read(name: PairName): Promise<ServerCertificate | undefined> {
    const { certPath, keyPath } = this.#paths(name);
    if (!existsSync(certPath) || !existsSync(keyPath)) return undefined;
    return { cert: await readFile(certPath, 'utf8'), key: await readFile(keyPath, 'utf8') };
  }

  /** The key first: a certificate without its key would be taken for a whole pair after a crash. */
  async #write(name: PairName, pair: ServerCertificate): Promise<ServerCertificate> {
    const { certPath, keyPath } = this.#paths(name);
    await writeFileDurably(keyPath, pair.key, 0o600);
    await writeFileDurably(certPath, pair.cert, 0o644);
    return pair;
  }

  #paths(name: PairName): { readonly certPath: string; readonly keyPath: string } {
    return {
      certPath: name === 'ca' ? this.certificatePath : join(this.#folder, 'private', `${name}.crt`),
      keyPath: join(this.#folder, 'private', `${name}.key`),
    };
  }
}

/** The names this machine is called by from itself and its network, and the host of the public URL. */
export function machineNames(publicUrl: string | undefined): string[] {
  const addresses = Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    // Link-local addresses carry a zone and are no use in a URL.
    .filter(({ address }) => !address.startsWith('fe80:'))
    .map(({ address }) => address);
  const publicHost = publicUrl === undefined ? [] : [new URL(publicUrl).hostname.replace(/^\[|\]$/g, '')];
  const ownName = /^[a-zA-Z0-9.-]+$/.test(hostname()) ? [hostname().toLowerCase()] : [];
  return [...new Set(['localhost', '127.0.0.1', '::1', ...ownName, ...addresses, ...publicHost])];
}

/** Two processes on one folder may have written each one of the files. */
function isPair({ cert, key }: ServerCertificate): boolean {
  return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
}

function serialNumber(): string {
  // Positive, as RFC 5280 section 4.1.2.2 asks: the first bit is clear.
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x01;
  return bytes.toString('hex');
}

async function toPem(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

async function fromPem(pem: string): Promise<webcrypto.CryptoKey> {
  const key = await webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), algorithm, false, ['sign']);
  return key;
}
