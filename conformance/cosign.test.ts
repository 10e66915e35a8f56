import { beforeAll, expect, test } from 'vitest';
import { run, runRefused, type Command } from './support/command.js';
import { buildImage, randomFiles, type Image } from './support/image.js';
import { fetchReferrers, fetchTags, pushImage } from './support/registry-api.js';
import { describeWithPrograms, installedProgram, siteWithWeir } from './support/suite.js';

describeWithPrograms('cosign', ['cosign'], () => {
  const site = siteWithWeir();
  let command: Command;
  let image: Image;
  let name: string;
  const cosign = (...args: readonly string[]): Promise<string> => run(installedProgram('cosign'), args, command);
  const trust = (): string[] => ['--registry-cacert', site.weir.caFile];
  // The public transparency log is out of reach here; the key alone is what vouches.
  const sign = (): string[] => ['--key', site.workspace.path('cosign.key'), '--tlog-upload=false', '--yes', ...trust()];
  const verify = (): string[] => ['--key', site.workspace.path('cosign.pub'), '--insecure-ignore-tlog', ...trust()];

  beforeAll(async () => {
    const { weir, workspace } = site;
    const environment = {
      ...workspace.environment,
      COSIGN_PASSWORD: 'of the key',
      DOCKER_CONFIG: workspace.makeDirectory('docker'),
      TUF_ROOT: workspace.makeDirectory('tuf'),
    };
    command = { environment, workingDirectory: workspace.directory };
    image = buildImage(randomFiles(1));
    await pushImage(weir, 'cosign/signed', 'v1', image);
    name = `${weir.host}/cosign/signed@${image.descriptor.digest}`;
    workspace.writeFile('predicate.json', '{"tested":true}');
    await cosign('generate-key-pair');
  });

  test('is refused with a wrong password, and let in with the right one', async () => {
    // It has no flag for the authority at login and does not contact the registry then; signing is what fails.
    const login = ['login', site.weir.host, '--username', site.weir.username, '--password-stdin'];
    await run(installedProgram('cosign'), login, { ...command, input: 'wrong' });
    expect(await runRefused(installedProgram('cosign'), ['sign', ...sign(), name], command)).toMatch(
      /UNAUTHORIZED|401/,
    );
    await run(installedProgram('cosign'), login, { ...command, input: site.weir.password });
  });

  test('finds no signature before there is one', async () => {
    expect(await runRefused(installedProgram('cosign'), ['verify', ...verify(), name], command)).toMatch(
      /no signatures/i,
    );
  });

  test('signs, and verifies with the public key', async () => {
    await cosign('sign', ...sign(), name);
    expect(await cosign('verify', ...verify(), name)).toContain(image.descriptor.digest);
    expect(await fetchTags(site.weir, 'cosign/signed')).toContain(`${image.descriptor.digest.replace(':', '-')}.sig`);
  });

  test('attests, and verifies the attestation', async () => {
    const predicate = ['--predicate', site.workspace.path('predicate.json'), '--type', 'custom'];
    await cosign('attest', ...sign(), ...predicate, name);
    expect(await cosign('verify-attestation', ...verify(), '--type', 'custom', name)).toContain('payload');
  });

  test('signs a second time as a referrer of the image', async () => {
    const environment = { ...command.environment, COSIGN_EXPERIMENTAL: '1' };
    const args = ['sign', ...sign(), '--registry-referrers-mode', 'oci-1-1', name];
    await run(installedProgram('cosign'), args, { ...command, environment });
    expect(await fetchReferrers(site.weir, 'cosign/signed', image.descriptor.digest)).toMatchObject([
      { artifactType: 'application/vnd.dev.cosign.artifact.sig.v1+json' },
    ]);
  });
});
