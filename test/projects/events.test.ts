import { describe, expect, test } from 'vitest';
import { eventResource } from '../../src/projects/events.js';
import { apiCall, master } from '../support/api-call.js';
import { namesIn, projectParts, startProjectApi } from './project-api.js';

const events = '/api/v1/namespaces/library/events';
const event = (name: string, fields: object = {}) => ({
  metadata: { name },
  involvedObject: { kind: 'ImageStream', name: 'app', namespace: 'library', uid: 'u1' },
  reason: 'Imported',
  type: 'Normal',
  message: ' done ',
  ...fields,
});

describe('events', () => {
  test('are found by what they are about, and printed', async () => {
    const { send } = await startProjectApi();
    const lastTimestamp = new Date(Date.now() - 180_000).toISOString();
    expect((await send('root', 'POST', events, event('app.1', { lastTimestamp }))).status).toBe(201);
    await send(
      'root',
      'POST',
      events,
      event('app.2', { type: 'Warning', involvedObject: { kind: 'Secret', name: 's' } }),
    );
    const select = async (selector: string) =>
      namesIn(await send('root', 'GET', `${events}?fieldSelector=${encodeURIComponent(selector)}`));
    expect(await select('involvedObject.name=app,involvedObject.namespace=library,involvedObject.uid=u1')).toEqual([
      'app.1',
    ]);
    expect(await select('involvedObject.kind=Secret')).toEqual(['app.2']);
    expect(await select('type!=Normal')).toEqual(['app.2']);
    expect(await select('reason=Imported')).toEqual(['app.1', 'app.2']);
    const table = { Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };
    expect((await send('root', 'GET', `${events}/app.1`, undefined, table)).body).toMatchObject({
      rows: [{ cells: ['app.1', '3m', 'Normal', 'Imported', 'imagestream/app', 'done'] }],
    });
  });

  test('are where their object is', async () => {
    const { send } = await startProjectApi();
    const stray = event('app.1', { involvedObject: { kind: 'ImageStream', name: 'app', namespace: 'openshift' } });
    expect(await send('root', 'POST', events, stray)).toMatchObject({
      status: 422,
      body: { details: { causes: [{ field: 'involvedObject.namespace' }] } },
    });
  });

  test('are gone after an hour', async () => {
    const parts = await projectParts();
    await parts.ensure();
    const { storage } = eventResource({ store: parts.store, now: () => new Date(Date.now() - 3600_000) });
    const call = apiCall({ principal: master, namespace: 'library' });
    await storage.create!(call, event('old') as never, { dryRun: false });
    await expect(storage.get!(call, 'old')).rejects.toThrow('events "old" not found');
    expect(await parts.store.removeExpired(new Date())).toBe(1);
  });

  test('of one namespace are not many more than their bound, the oldest going first', async () => {
    const parts = await projectParts();
    await parts.ensure();
    const { storage } = eventResource({ store: parts.store, maxPerNamespace: 20 });
    const call = (namespace: string) => apiCall({ principal: master, namespace });
    for (let index = 0; index < 130; index += 1) {
      // Names say nothing of age.
      const name = `e${String(999 - index).padStart(3, '0')}`;
      await storage.create!(call('library'), event(name) as never, { dryRun: false });
    }
    await storage.create!(call('openshift'), event('other', { involvedObject: {} }) as never, { dryRun: false });
    const list = async (namespace: string) =>
      (await parts.store.list({ resource: 'events', namespace, limit: 500 })).objects.map(
        ({ metadata }) => metadata.name,
      );
    const kept = await list('library');
    expect(kept.length).toBeGreaterThanOrEqual(20);
    expect(kept.length).toBeLessThanOrEqual(71);
    expect(kept[0]).toBe('e870');
    expect(await list('openshift')).toEqual(['other']);
  });
});
