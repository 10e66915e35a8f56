import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pushImage, startUpload } from './support/images.js';
import { startRegistry, user, type TestRegistry } from './support/registry.js';

describe('/metrics', () => {
  let registry: TestRegistry;
  let metrics: string;
  beforeAll(async () => {
    registry = await startRegistry();
    await pushImage(registry, 'team/app', 'v1');
    await startUpload(registry, 'team/app');
    await registry.fetch('/v2/team/app/manifests/v1');
    await registry.fetch('/v2/team/app/manifests/never-pushed');
    await registry.fetch('/v2/another/repository/tags/list');
    await registry.fetch('/v2/team/app/manifests/v1', { method: 'PATCH' });
    await registry.fetch('/some/path/of/a/scanner.php?token=x');
    await registry.fetch('/v2/team/app/manifests/v1', { as: 'nobody' });
    const refresh = registry.running.app.jobs.find(({ name }) => name === 'refresh')!;
    await refresh.run(new AbortController().signal);
    // Requests are counted when their answers have gone out, which the client may learn first.
    await new Promise((resolve) => setTimeout(resolve, 20));
    metrics = await (await registry.fetch('/metrics')).text();
  });
  afterAll(() => registry.stop());

  /** The value of a series, by its name and labels as they are printed. */
  function valueOf(series: string): number | undefined {
    const line = metrics.split('\n').find((candidate) => candidate.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  }

  test('is for those who may read the whole cluster', async () => {
    expect((await registry.fetch('/metrics', { as: user })).status).toBe(403);
    await registry.bind(user.name, 'cluster-reader');
    expect((await registry.fetch('/metrics', { as: user })).status).toBe(200);
    const refused = await registry.fetch('/metrics', { as: 'nobody' });
    expect(refused.status).toBe(401);
    expect(refused.headers.get('WWW-Authenticate')).toMatch(/^Bearer /);
    expect(await refused.text()).not.toContain('weir_');
  });

  test('is in the text format of Prometheus', async () => {
    const response = await registry.fetch('/metrics');
    expect(response.headers.get('Content-Type')).toMatch(/^text\/plain; version=0\.0\.4/);
    await response.text();
  });

  test.each([
    { name: 'weir_http_requests_total', type: 'counter' },
    { name: 'weir_http_request_duration_seconds', type: 'histogram' },
    { name: 'weir_http_received_bytes_total', type: 'counter' },
    { name: 'weir_http_sent_bytes_total', type: 'counter' },
    { name: 'weir_uploads_open', type: 'gauge' },
    { name: 'weir_blobs', type: 'gauge' },
    { name: 'weir_database_query_duration_seconds', type: 'histogram' },
    { name: 'process_resident_memory_bytes', type: 'gauge' },
    { name: 'nodejs_eventloop_lag_seconds', type: 'gauge' },
  ])('tells $name, a $type, with its meaning', ({ name, type }) => {
    expect(metrics).toContain(`# TYPE ${name} ${type}\n`);
    expect(metrics).toMatch(new RegExp(`^# HELP ${name} \\S`, 'm'));
  });

  test.each([
    { what: 'a push', series: '{method="PUT",route="/v2/*name/manifests/:reference",code="201"}', count: 1 },
    { what: 'a pull', series: '{method="GET",route="/v2/*name/manifests/:reference",code="200"}', count: 1 },
    { what: 'an unknown tag', series: '{method="GET",route="/v2/*name/manifests/:reference",code="404"}', count: 1 },
    { what: 'a refusal', series: '{method="GET",route="/v2/*name/manifests/:reference",code="401"}', count: 1 },
    { what: 'uploads begun', series: '{method="POST",route="/v2/*name/blobs/uploads",code="202"}', count: 3 },
    {
      what: 'uploads finished',
      series: '{method="PUT",route="/v2/*name/blobs/uploads/:session",code="201"}',
      count: 2,
    },
    { what: 'a path that is none', series: '{method="GET",route="none",code="404"}', count: 1 },
  ])('counts $what by route and code', ({ series, count }) => {
    expect(valueOf(`weir_http_requests_total${series}`)).toBe(count);
  });

  test('never has a path, a repository or a query as a label, so that nobody can make it grow', () => {
    for (const part of ['team', 'another', 'v1', 'scanner', 'token', 'never-pushed'])
      expect(metrics).not.toContain(part);
  });

  test('measures how long each route takes', () => {
    const series = 'weir_http_request_duration_seconds_count{method="GET",route="/v2/*name/manifests/:reference"}';
    expect(valueOf(series)).toBe(3);
  });

  test('counts bytes in and out', () => {
    expect(valueOf('weir_http_received_bytes_total')).toBeGreaterThan(1000);
    expect(valueOf('weir_http_sent_bytes_total')).toBeGreaterThan(1000);
  });

  test('tells how many blobs there are and how many uploads are open', () => {
    expect(valueOf('weir_blobs')).toBe(2);
    expect(valueOf('weir_uploads_open')).toBe(1);
  });

  test('measures the time of the database', () => {
    expect(valueOf('weir_database_query_duration_seconds_count')).toBeGreaterThan(10);
    expect(valueOf('weir_database_query_duration_seconds_sum')).toBeGreaterThan(0);
  });
});
