import { afterAll, beforeAll, expect, test } from 'vitest';
import { emptyJson, imageManifest, putManifest } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';

const stream = '/apis/image.openshift.io/v1/namespaces/busy/imagestreams/app';
const istag = '/apis/image.openshift.io/v1/namespaces/busy/imagestreamtags/app';
const weir = '/apis/weir.dev/v1/namespaces/busy/imagestreamtags/app';

const tags = ['one', 'two'];
const clients = 12;
const turns = 15;

interface Event {
  readonly metadata: { readonly resourceVersion: string };
  readonly generation: number;
  readonly cause: string;
  readonly created: string;
  readonly reason?: string;
}

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry({ WEIR_POLICY_SPARSE: 'images', WEIR_HISTORY_SHOWN_EVENTS: '10000' });
  await registry.addProject('busy');
});
afterAll(() => registry.stop());

/** An image that nobody else has. */
const unique = (name: string) => imageManifest(emptyJson, [], { annotations: { name } });

/** The versions that a watch tells, from now until it is stopped. */
async function watch(): Promise<{ readonly versions: number[]; readonly stop: () => Promise<void> }> {
  const list = (await (await registry.api(`${stream.slice(0, -4)}?limit=1`)).json()) as {
    metadata: { resourceVersion: string };
  };
  const abort = new AbortController();
  const query = `?watch=true&fieldSelector=metadata.name%3Dapp&resourceVersion=${list.metadata.resourceVersion}`;
  const response = await registry.api(stream.slice(0, -4) + query, { signal: abort.signal });
  const versions: number[] = [];
  const reading = (async () => {
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of response.body!) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) {
        const { object } = JSON.parse(line) as { object: { metadata: { resourceVersion: string } } };
        versions.push(Number(object.metadata.resourceVersion));
      }
    }
  })().catch(() => undefined);
  return {
    versions,
    stop: async () => {
      abort.abort();
      await reading;
    },
  };
}

test(
  'of many clients at once, everything acknowledged is in the history once, in one order',
  { timeout: 120_000 },
  async () => {
    // Two, for whoever rolls back before anybody has pushed.
    for (const name of ['first', 'second']) {
      for (const tag of tags) {
        expect((await putManifest(registry, 'busy/app', unique(`${name} ${tag}`), tag)).status).toBe(201);
      }
    }
    const watching = await watch();
    /** Reasons of the events that were acknowledged. */
    const acknowledged = new Map<string, string>();
    const conflicts: string[] = [];

    const work = async (client: number) => {
      for (let turn = 0; turn < turns; turn += 1) {
        const reason = `client ${client} turn ${turn}`;
        const headers = { 'Weir-Reason': encodeURIComponent(reason) };
        const tag = tags[(client + turn) % tags.length]!;
        switch ((client * 7 + turn) % 4) {
          case 0:
          case 1: {
            const manifest = unique(reason);
            const response = await registry.fetch(`/v2/busy/app/manifests/${tag}`, {
              method: 'PUT',
              headers: { ...headers, 'Content-Type': manifest.mediaType },
              body: manifest.bytes,
            });
            expect(response.status).toBe(201);
            acknowledged.set(reason, 'push');
            break;
          }
          case 2: {
            const body = { spec: { to: { steps: 1 } } };
            const response = await registry.api(`${weir}:${tag}/rollback`, { method: 'POST', headers, body });
            expect(response.status).toBe(201);
            acknowledged.set(reason, 'rollback');
            break;
          }
          default: {
            // An edit of the stream as it was read: somebody else may have been faster.
            const object = (await (await registry.api(stream)).json()) as { metadata: { labels?: object } };
            object.metadata.labels = { ...object.metadata.labels, [`c${client}`]: String(turn) };
            const response = await registry.api(stream, { method: 'PUT', body: object });
            const text = await response.text();
            if (response.status === 409) conflicts.push(text);
            else expect(response.status, text).toBe(200);
          }
        }
      }
    };
    await Promise.all(Array.from({ length: clients }, (_, client) => work(client)));

    const events: Event[] = [];
    for (const tag of tags) {
      const response = await registry.api(`${weir}:${tag}/history?limit=1000`);
      const { items } = (await response.json()) as { items: Event[] };
      // Newest first: sequence, version and time go down together.
      expect(items.map(({ generation }) => generation)).toEqual(items.map((_, index) => items.length - index));
      for (const [index, event] of items.slice(1).entries()) {
        const newer = items[index]!;
        expect(Number(newer.metadata.resourceVersion)).toBeGreaterThan(Number(event.metadata.resourceVersion));
        expect(newer.created >= event.created).toBe(true);
      }
      events.push(...items);
    }
    const told = events.filter(({ reason }) => reason !== undefined);
    expect(new Map(told.map(({ reason, cause }) => [reason, cause]))).toEqual(acknowledged);
    expect(told).toHaveLength(acknowledged.size);
    const versions = events.map(({ metadata }) => Number(metadata.resourceVersion));
    expect(new Set(versions).size).toBe(versions.length);

    for (const text of conflicts)
      expect(text).toContain('please apply your changes to the latest version and try again');

    // Who watched was told of every change, in its order.
    const last = Number(((await (await registry.api(stream)).json()) as Event).metadata.resourceVersion);
    await expect.poll(() => watching.versions.at(-1), { timeout: 10_000 }).toBe(last);
    await watching.stop();
    expect(watching.versions).toEqual([...watching.versions].sort((a, b) => a - b));
    expect(new Set(watching.versions).size).toBe(watching.versions.length);
    const changed = versions.filter((version) => version > watching.versions[0]! - 1);
    expect(changed.filter((version) => !watching.versions.includes(version))).toEqual([]);
  },
);

test('tags put at once by many clients are all there', { timeout: 60_000 }, async () => {
  const put = (number: number) =>
    registry.api(`${istag}:n${number}`, {
      method: 'PUT',
      body: {
        metadata: { name: `app:n${number}` },
        tag: { name: `n${number}`, from: { kind: 'ImageStreamTag', name: 'app:one' } },
      },
    });
  const responses = await Promise.all(Array.from({ length: 40 }, (_, number) => put(number)));
  expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([201]));
  const found = (await (await registry.api(stream)).json()) as {
    metadata: { generation: number };
    spec: { tags: { name: string; generation: number }[] };
  };
  const generations = found.spec.tags.filter(({ name }) => name.startsWith('n')).map(({ generation }) => generation);
  // Each is a change of the spec of its own.
  expect(new Set(generations).size).toBe(40);
  expect(Math.max(...generations)).toBe(found.metadata.generation);
});
