import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { copyFile, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { UnreadableKeyError } from '../../src/metadata/key-records.js';
import { KyselyKeyRecords } from '../../src/metadata/kysely-key-records.js';
import { openSqlite } from '../../src/metadata/sqlite.js';
import { SecretBox } from '../../src/projects/secret-box.js';
import { CertificateAuthority, machineNames, type ServerCertificate } from '../../src/tls/certificate-authority.js';
import { MemoryKeyRecords } from '../support/memory-key-records.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const dayMs = 86_400_000;
const names = ['localhost', '127.0.0.1', '::1', 'registry.example.org'];

describe('a certificate authority', () => {
  let folder: string;
  let now: Date;
  let authority: CertificateAuthority;
  beforeEach(async () => {
    folder = join(await temporaryFolder(), 'tls');
    now = new Date();
    authority = new CertificateAuthority(folder, { now: () => now });
  });

  /** As after a restart. */
  const openAgain = () => new CertificateAuthority(folder, { now: () => now });

  async function listen(certificate: ServerCertificate): Promise<number> {
    const server: Server = createServer({ ...certificate }, (_request, response) => response.end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(
      () =>
        new Promise((resolve) =>
          server.close(() => {
            resolve();
          }),
        ),
    );
    return (server.address() as AddressInfo).port;
  }

  test.each(['localhost', '127.0.0.1', '::1', 'registry.example.org'])(
    'makes a certificate that a client which trusts the CA takes for %s',
    async (name) => {
      const port = await listen(await authority.serverCertificate(names));
      const ca = await readFile(authority.certificatePath);
      await expect(handshake(port, name, ca)).resolves.toBe(true);
    },
  );

  test('makes a certificate that is taken for no other name', async () => {
    const port = await listen(await authority.serverCertificate(names));
    const ca = await readFile(authority.certificatePath);
    await expect(handshake(port, 'other.example.org', ca)).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
    await expect(handshake(port, '192.0.2.1', ca)).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  });

  test('makes a certificate that is not taken without its CA', async () => {
    const port = await listen(await authority.serverCertificate(names));
    await expect(handshake(port, 'localhost', undefined)).rejects.toMatchObject({
      code: expect.stringMatching(/UNABLE_TO_VERIFY|SELF_SIGNED/) as string,
    });
  });

  test('makes a certificate that is taken for this machine, however it is called', async () => {
    const own = machineNames('https://registry.example.org:8443');
    const port = await listen(await authority.serverCertificate(own));
    const ca = await readFile(authority.certificatePath);
    for (const name of own) await expect(handshake(port, name, ca), name).resolves.toBe(true);
  });

  test('makes a CA that signs certificates and a certificate that does not', async () => {
    const { cert } = await authority.serverCertificate(names);
    const ca = new X509Certificate(await readFile(authority.certificatePath));
    const server = new X509Certificate(cert);
    expect(ca.ca).toBe(true);
    expect(server.ca).toBe(false);
    expect(server.checkIssued(ca)).toBe(true);
    expect(server.verify(ca.publicKey)).toBe(true);
    expect(Date.parse(server.validFrom)).toBeLessThan(now.getTime());
    expect(Date.parse(server.validTo) - now.getTime()).toBeGreaterThan(30 * dayMs);
    // Apple's clients refuse server certificates that are valid for longer than this.
    expect(Date.parse(server.validTo) - Date.parse(server.validFrom)).toBeLessThan(398 * dayMs);
    expect(Date.parse(ca.validTo)).toBeGreaterThan(Date.parse(server.validTo));
  });

  test('gives a key that fits', async () => {
    const { cert, key } = await authority.serverCertificate(names);
    expect(new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))).toBe(true);
  });

  test('leaves nothing but ca.crt in its folder, beside what is private', async () => {
    await authority.serverCertificate(names);
    expect((await readdir(folder)).sort()).toEqual(['ca.crt', 'private']);
    expect((await readdir(join(folder, 'private'))).sort()).toEqual(['ca.key', 'server.crt', 'server.key']);
    expect(authority.certificatePath).toBe(join(folder, 'ca.crt'));
  });

  test('keeps its keys for itself, and shows its certificate to everyone', async () => {
    await authority.serverCertificate(names);
    expect(await modeOf('private/ca.key')).toBe(0o600);
    expect(await modeOf('private/server.key')).toBe(0o600);
    expect(await modeOf('ca.crt')).toBe(0o644);
    expect(await readFile(join(folder, 'ca.crt'), 'utf8')).not.toContain('PRIVATE KEY');
  });

  async function modeOf(path: string): Promise<number> {
    return (await stat(join(folder, path))).mode & 0o777;
  }

  test('gives the same certificate again, also after a restart, also for fewer names', async () => {
    const first = await authority.serverCertificate(names);
    expect(await authority.serverCertificate(names)).toEqual(first);
    expect(await openAgain().serverCertificate(names)).toEqual(first);
    expect(await openAgain().serverCertificate(['localhost'])).toEqual(first);
  });

  test.each([
    '::1',
    'fd00::2',
    '2001:db8::ff00:42:8329',
    '2001:db8:0:1:1:1:1:1',
    '2001:db8::1:0:0:1',
    '::ffff:c000:201',
    'xn--bcher-kva.example',
    'my-host_1.local',
  ])('knows the name %s in its own certificate', async (name) => {
    const first = await authority.serverCertificate([name]);
    expect(await authority.serverCertificate([name])).toEqual(first);
  });

  test('renews a certificate when less than 30 days of it are left, with the same CA', async () => {
    const first = await authority.serverCertificate(names);
    const ca = await readFile(authority.certificatePath, 'utf8');
    const end = Date.parse(new X509Certificate(first.cert).validTo);
    now = new Date(end - 30 * dayMs - 60_000);
    expect(await authority.serverCertificate(names)).toEqual(first);
    now = new Date(end - 30 * dayMs + 60_000);
    const second = await authority.serverCertificate(names);
    expect(second.cert).not.toBe(first.cert);
    expect(second.key).not.toBe(first.key);
    expect(Date.parse(new X509Certificate(second.cert).validTo)).toBeGreaterThan(end);
    expect(await readFile(authority.certificatePath, 'utf8')).toBe(ca);
    expect(await openAgain().serverCertificate(names)).toEqual(second);
  });

  test('renews a certificate that lacks a name', async () => {
    const first = await authority.serverCertificate(names);
    const second = await authority.serverCertificate([...names, '192.0.2.7']);
    expect(second.cert).not.toBe(first.cert);
    expect(new X509Certificate(second.cert).checkIP('192.0.2.7')).toBe('192.0.2.7');
  });

  test.each([
    { name: 'its certificate', files: ['ca.crt'] },
    { name: 'its key', files: ['private/ca.key'] },
    { name: 'both', files: ['ca.crt', 'private/ca.key'] },
  ])('renews everything when $name is gone', async ({ files }) => {
    const first = await authority.serverCertificate(names);
    const oldCa = new X509Certificate(await readFile(authority.certificatePath));
    for (const file of files) await rm(join(folder, file));
    const second = await openAgain().serverCertificate(names);
    const ca = new X509Certificate(await readFile(authority.certificatePath));
    expect(second.cert).not.toBe(first.cert);
    expect(ca.fingerprint256).not.toBe(oldCa.fingerprint256);
    expect(new X509Certificate(second.cert).verify(ca.publicKey)).toBe(true);
  });

  test.each(['private/server.crt', 'private/server.key'])('makes a new certificate when %s is gone', async (file) => {
    await authority.serverCertificate(names);
    await rm(join(folder, file));
    const { cert, key } = await openAgain().serverCertificate(names);
    expect(new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))).toBe(true);
  });
});

describe('a certificate authority that machines share', () => {
  let keys: MemoryKeyRecords;
  beforeEach(() => {
    keys = new MemoryKeyRecords();
  });

  /** As a machine of its own. */
  async function machine(): Promise<{ readonly folder: string; readonly authority: CertificateAuthority }> {
    const folder = join(await temporaryFolder(), 'tls');
    return { folder, authority: new CertificateAuthority(folder, { keys }) };
  }

  const authorityOn = async ({ folder }: { readonly folder: string }) =>
    new X509Certificate(await readFile(join(folder, 'ca.crt')));

  test('is the same on all that start at the same time, each with a server certificate of its own', async () => {
    const machines = [await machine(), await machine(), await machine()];
    const certificates = await Promise.all(machines.map(({ authority }) => authority.serverCertificate(names)));
    const authorities = await Promise.all(machines.map(authorityOn));
    expect(new Set(authorities.map(({ fingerprint256 }) => fingerprint256)).size).toBe(1);
    expect(new Set(certificates.map(({ cert }) => cert)).size).toBe(3);
    for (const { cert } of certificates) {
      expect(new X509Certificate(cert).verify(authorities[0]!.publicKey)).toBe(true);
    }
  });

  test('leaves its key on none of them', async () => {
    const { folder, authority } = await machine();
    await authority.serverCertificate(names);
    expect((await readdir(folder)).sort()).toEqual(['ca.crt', 'private']);
    expect((await readdir(join(folder, 'private'))).sort()).toEqual(['server.crt', 'server.key']);
    expect((await stat(join(folder, 'ca.crt'))).mode & 0o777).toBe(0o644);
  });

  test('writes ca.crt again when it is gone or is another', async () => {
    const [one, other] = [await machine(), await machine()];
    const first = await one.authority.serverCertificate(names);
    const ca = await readFile(one.authority.certificatePath, 'utf8');
    await rm(one.authority.certificatePath);
    expect(await one.authority.serverCertificate(names)).toEqual(first);
    expect(await readFile(one.authority.certificatePath, 'utf8')).toBe(ca);
    const foreign = new CertificateAuthority(other.folder);
    await foreign.serverCertificate(names);
    await other.authority.serverCertificate(names);
    expect(await readFile(other.authority.certificatePath, 'utf8')).toBe(ca);
    const { cert } = await other.authority.serverCertificate(names);
    expect(new X509Certificate(cert).verify(new X509Certificate(ca).publicKey)).toBe(true);
  });

  test('is the one that an earlier version has left in the folder, whose files stay', async () => {
    const [one, other] = [await machine(), await machine()];
    const before = await new CertificateAuthority(one.folder).serverCertificate(names);
    const ca = await readFile(join(one.folder, 'ca.crt'), 'utf8');
    const key = await readFile(join(one.folder, 'private', 'ca.key'), 'utf8');
    expect(await one.authority.serverCertificate(names)).toEqual(before);
    await other.authority.serverCertificate(names);
    expect(await readFile(join(other.folder, 'ca.crt'), 'utf8')).toBe(ca);
    expect(await readFile(join(one.folder, 'private', 'ca.key'), 'utf8')).toBe(key);
    // Who goes back to that version has what was there.
    expect(await new CertificateAuthority(one.folder).serverCertificate(names)).toEqual(before);
  });

  test('makes a new server certificate when two processes on one folder have mixed up theirs', async () => {
    const [one, other] = [await machine(), await machine()];
    await one.authority.serverCertificate(names);
    await other.authority.serverCertificate(names);
    await copyFile(join(other.folder, 'private', 'server.key'), join(one.folder, 'private', 'server.key'));
    const { cert, key } = await one.authority.serverCertificate(names);
    expect(new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))).toBe(true);
  });

  test('is closed to a process whose secrets keys are others, and does not read as text in the database', async () => {
    const folder = await temporaryFolder();
    const db = await openSqlite(join(folder, 'weir.sqlite'));
    onTestFinished(() => db.destroy());
    const openWith = (place: string, box: SecretBox) =>
      new CertificateAuthority(join(folder, place), { keys: new KyselyKeyRecords(db, box) }).serverCertificate(names);
    const box = new SecretBox([randomBytes(32)]);
    await openWith('here', box);
    await openWith('there', box);
    expect(await readFile(join(folder, 'there', 'ca.crt'))).toEqual(await readFile(join(folder, 'here', 'ca.crt')));
    await expect(openWith('elsewhere', new SecretBox([randomBytes(32)]))).rejects.toThrow(UnreadableKeyError);
    const [row] = await db.selectFrom('key').selectAll().execute();
    expect(row).toMatchObject({ purpose: 'certificate-authority' });
    expect(row?.sealed).not.toContain('BEGIN');
  });
});

describe('the names of this machine', () => {
  test('hold what everyone calls it, its own name, and the public one', () => {
    const own = machineNames('https://registry.example.org:8443');
    expect(own.slice(0, 3)).toEqual(['localhost', '127.0.0.1', '::1']);
    expect(own).toContain(hostname().toLowerCase());
    expect(own.at(-1)).toBe('registry.example.org');
    expect(new Set(own).size).toBe(own.length);
  });

  test.each([
    { url: 'https://[2001:db8::1]:5000', name: '2001:db8::1' },
    { url: 'https://192.0.2.5', name: '192.0.2.5' },
    { url: 'https://Registry.Example.ORG', name: 'registry.example.org' },
  ])('take $name from $url', ({ url, name }) => {
    expect(machineNames(url)).toContain(name);
  });

  test('hold no address with a zone', () => {
    expect(machineNames(undefined).filter((name) => name.startsWith('fe80:') || name.includes('%'))).toEqual([]);
  });
});

/** Connects as a client that calls the server by `name`. */
function handshake(port: number, name: string, ca: Buffer | undefined): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const isAddress = /^[\d.]+$|:/.test(name);
    const socket = connect({
      host: '127.0.0.1',
      port,
      ...(ca && { ca }),
      ...(!isAddress && { servername: name }),
      checkServerIdentity: (_host, certificate) => {
        const peer = new X509Certificate(certificate.raw);
        const fits = isAddress ? peer.checkIP(name) : peer.checkHost(name);
        return fits === undefined
          ? Object.assign(new Error(`not for ${name}`), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
          : undefined;
      },
    });
    socket.once('secureConnect', () => {
      resolve(socket.authorized);
      socket.destroy();
    });
    socket.once('error', reject);
  });
}
