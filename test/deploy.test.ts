import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { describe, expect, test } from 'vitest';
import { root } from '../scripts/tools.mjs';
import { configEntries, loadConfig } from '../src/config.js';
import { Metrics } from '../src/metrics.js';

const deploy = path.join(root, 'deploy');
const files = readdirSync(deploy, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name !== '.env')
  .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)));
const documented = [...files, path.join('docs', 'operations.md')];

function text(file: string): string {
  return readFileSync(path.join(root, file), 'utf8');
}

/** Settings as Weir reads them; a placeholder of a template would not be taken for a key. */
function configOf(environment: Readonly<Record<string, string>>) {
  return loadConfig(
    { path: path.join(root, 'no', 'weir.yaml'), required: false },
    { ...environment, WEIR_SECRETS_KEYS: Buffer.alloc(32).toString('base64') },
  );
}

describe('settings', () => {
  const known = new Set(configEntries.map(({ variable }) => variable));
  // What Kubernetes would set.
  const others = ['WEIR_PORT'];

  test.each(documented)('%s names none that is not there', (file) => {
    // Those that go on with an underscore are the beginning of several.
    const named = [...text(file).matchAll(/\bWEIR_[A-Z0-9_]*[A-Z0-9](?!_)\b/g)].map(([variable]) => variable);
    expect(named.filter((variable) => !known.has(variable) && !others.includes(variable))).toEqual([]);
  });

  test('docs/operations.md names none that is not there by its path', () => {
    const places = new Set(configEntries.map(({ path: place }) => place.split('.')[0]!));
    const paths = new Set(configEntries.map(({ path: place }) => place));
    const named = [...text('docs/operations.md').matchAll(/`([a-z]\w*(?:\.\w+)+)`/g)]
      .map(([, name]) => name!)
      .filter((name) => places.has(name.split('.')[0]!));
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter((name) => !paths.has(name))).toEqual([]);
  });

  test('those for Kubernetes are a valid configuration', () => {
    const { data } = parse(text('deploy/kubernetes/configmap.yaml')) as { data: Record<string, string> };
    const { stringData } = parse(text('deploy/kubernetes/secret.yaml')) as { stringData: Record<string, string> };
    expect(configOf({ ...data, ...stringData })).toMatchObject({ blobstore: { kind: 's3' }, tls: { mode: 'off' } });
  });

  test('those of compose.yaml are a valid configuration', () => {
    const { services } = compose();
    const environment = Object.entries(services['weir-a']!.environment!).map(
      ([name, value]) => [name, value.replace(/\$\{\w+:\?[^}]*\}/g, 'http://x')] as const,
    );
    const secret = ['WEIR_DATABASE_URL', 'postgres://weir:password@postgres:5432/weir'] as const;
    expect(configOf(Object.fromEntries([...environment, secret]))).toMatchObject({
      blobstore: { kind: 's3', s3: { endpoint: 'http://s3:7070' } },
    });
  });
});

describe('time to end', () => {
  const preStopSeconds = 10;

  test('in Kubernetes is longer than the pause before it and the grace time', () => {
    const { data } = parse(text('deploy/kubernetes/configmap.yaml')) as { data: Record<string, string> };
    const { spec } = deployment();
    expect(spec.containers[0]!.lifecycle.preStop.exec.command).toEqual(['sleep', String(preStopSeconds)]);
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(
      preStopSeconds + Number(data['WEIR_SHUTDOWN_GRACE_SECONDS']),
    );
  });

  test('in compose.yaml is longer than the grace time', () => {
    const { stop_grace_period: period, environment } = compose().services['weir-a']!;
    expect(Number.parseInt(period!, 10)).toBeGreaterThan(Number(environment!['WEIR_SHUTDOWN_GRACE_SECONDS']));
  });

  test('of the service of systemd is longer than the grace time', () => {
    const seconds = Number(/^TimeoutStopSec=(\d+)$/m.exec(text('deploy/systemd/weir.service'))?.[1]);
    expect(seconds).toBeGreaterThan(configOf({}).shutdownGraceSeconds);
  });
});

describe('Kubernetes', () => {
  test('gets every manifest but the template of the secret', () => {
    const { resources } = parse(text('deploy/kubernetes/kustomization.yaml')) as { resources: string[] };
    const present = readdirSync(path.join(deploy, 'kubernetes'));
    expect([...resources, 'kustomization.yaml', 'secret.yaml'].sort()).toEqual(present.sort());
  });

  test.each(['deployment.yaml', 'backup.yaml'])('sets no variables of its own, nor gives rights, in %s', (file) => {
    const documents = parseAllDocuments(text(`deploy/kubernetes/${file}`)).map((each) => JSON.stringify(each.toJS()));
    const pod = documents.find((document) => document.includes('"containers"'))!;
    expect(pod).toContain('"enableServiceLinks":false');
    expect(pod).toContain('"automountServiceAccountToken":false');
    expect(pod).toContain('"runAsNonRoot":true');
    expect(pod).toContain('"readOnlyRootFilesystem":true');
    expect(pod).toContain('"drop":["ALL"]');
  });

  test('never has fewer replicas than wanted while it brings new ones', () => {
    const manifest = parse(text('deploy/kubernetes/deployment.yaml')) as {
      spec: { replicas: number; strategy: { rollingUpdate: { maxUnavailable: number } } };
    };
    expect(manifest.spec.replicas).toBeGreaterThanOrEqual(2);
    expect(manifest.spec.strategy.rollingUpdate.maxUnavailable).toBe(0);
  });

  test('asks where there are answers', () => {
    const { containers } = deployment().spec;
    const { startupProbe, livenessProbe, readinessProbe } = containers[0]!;
    const routes = readFileSync(path.join(root, 'src', 'operations-routes.ts'), 'utf8');
    for (const probe of [startupProbe, livenessProbe, readinessProbe])
      expect(routes).toContain(`'${probe.httpGet.path}'`);
  });
});

describe('the image', () => {
  test('is made of files that are there, and are not kept from the build', () => {
    const copied = [...text('deploy/Containerfile').matchAll(/^COPY ((?!--from).+) \S+$/gm)].flatMap(([, names]) =>
      names!.split(' '),
    );
    expect(copied.length).toBeGreaterThan(5);
    expect(copied.filter((name) => !existsSync(path.join(root, name)))).toEqual([]);
    const allowed = text('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1).replace(/\/$/, ''));
    expect(copied.filter((name) => !allowed.includes(name))).toEqual([]);
    expect(allowed.filter((name) => !copied.includes(name))).toEqual([]);
  });

  test('has only stages that are made before', () => {
    const made: string[] = [];
    for (const [, from, name, copied] of text('deploy/Containerfile').matchAll(
      /^(?:FROM (\S+)(?: AS (\w+))?|COPY --from=(\w+) .*)$/gm,
    )) {
      const used = copied ?? from!;
      if (!used.includes('/')) expect(made).toContain(used);
      if (name !== undefined) made.push(name);
    }
    expect(made).toEqual(['build', 'runtime', 'backup']);
  });
});

describe('metrics', () => {
  const names = new Set(
    new Metrics({ processMetrics: true }).registry
      .getMetricsAsArray()
      .map((metric) => metric as unknown as { name: string; type: string })
      .flatMap(({ name, type }) =>
        type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
      ),
  );
  const named = (content: string) =>
    [...content.matchAll(/\b(?:weir|nodejs|process)_[a-z0-9_]*[a-z0-9]\b/g)].map(([name]) => name);

  test('of the dashboard are there, and those of Weir are all on it', () => {
    const { panels } = JSON.parse(text('deploy/grafana/weir.json')) as {
      panels: { id: number; targets?: { expr: string }[] }[];
    };
    const shown = new Set(named(panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)).join('\n')));
    expect([...shown].filter((name) => !names.has(name))).toEqual([]);
    const families = new Set([...shown].map(familyOf));
    expect([...names].map(familyOf).filter((name) => name.startsWith('weir_') && !families.has(name))).toEqual([]);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  });

  test('of the alerts are there, and docs/operations.md says what to do about each', () => {
    const { groups } = parse(text('deploy/prometheus/alerts.yaml')) as {
      groups: { rules: { alert: string; expr: string }[] }[];
    };
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(5);
    const used = named(rules.map(({ expr }) => expr).join('\n'));
    expect(used.filter((name) => !names.has(name))).toEqual([]);
    const handbook = text('docs/operations.md');
    expect(rules.map(({ alert }) => alert).filter((alert) => !handbook.includes(`\`${alert}\``))).toEqual([]);
  });

  test('of docs/operations.md are there', () => {
    const families = new Set([...names].map(familyOf));
    expect(named(text('docs/operations.md')).filter((name) => !families.has(familyOf(name)))).toEqual([]);
  });

  function familyOf(name: string): string {
    return name.replace(/_(bucket|sum|count)$/, '');
  }
});

test.each(files.filter((file) => file.endsWith('.sh')))('%s is a script that a shell can read', (file) => {
  expect(spawnSync('/bin/sh', ['-n', path.join(root, file)], { encoding: 'utf8' })).toMatchObject({
    status: 0,
    stderr: '',
  });
});

test.each(files.filter((file) => file.endsWith('.mjs')))('%s is a module that Node can read', (file) => {
  expect(spawnSync(process.execPath, ['--check', path.join(root, file)], { encoding: 'utf8' })).toMatchObject({
    status: 0,
    stderr: '',
  });
});

test('docs/operations.md refers to files that are there', () => {
  const links = [...text('docs/operations.md').matchAll(/\]\(([^)#]+?)(?:#[^)]*)?\)/g)].map(([, link]) => link!);
  expect(links.length).toBeGreaterThan(3);
  expect(links.filter((link) => !link.startsWith('http') && !existsSync(path.join(root, 'docs', link)))).toEqual([]);
});

interface Probe {
  readonly httpGet: { readonly path: string };
}

function deployment() {
  const manifest = parse(text('deploy/kubernetes/deployment.yaml')) as {
    spec: {
      template: {
        spec: {
          terminationGracePeriodSeconds: number;
          containers: {
            startupProbe: Probe;
            livenessProbe: Probe;
            readinessProbe: Probe;
            lifecycle: { preStop: { exec: { command: string[] } } };
          }[];
        };
      };
    };
  };
  return manifest.spec.template;
}

function compose() {
  return parse(text('deploy/compose.yaml')) as {
    services: Record<string, { environment?: Record<string, string>; stop_grace_period?: string }>;
  };
}
