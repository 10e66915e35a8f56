import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { imageManifest, emptyJson, putManifest, type Manifest } from '../support/images.js';
import { startRegistry, type TestRegistry } from '../support/registry.js';
import { StreamModel, type ModelEvent, type Source, type StreamName } from './stream-model.js';

const steps = Number(process.env['WEIR_TEST_MODEL_STEPS'] ?? '20000');
const stepsInRun = 100;

const streams: readonly StreamName[] = ['red/a', 'red/b', 'blue/a'];
const tags = ['t1', 't2', 't3'];
const images: readonly Manifest[] = ['1', '2', '3'].map((number) =>
  imageManifest(emptyJson, [], { annotations: { number } }),
);

let registry: TestRegistry;
beforeAll(async () => {
  // Manifests alone, so that a step is one request.
  registry = await startRegistry({ WEIR_POLICY_SPARSE: 'images', WEIR_HISTORY_SHOWN_EVENTS: '10000' });
  for (const project of ['red', 'blue']) await registry.addProject(project);
});
afterAll(() => registry.stop());

const openshift = (name: StreamName, resource: string) => {
  const [project, stream] = name.split('/') as [string, string];
  return `/apis/image.openshift.io/v1/namespaces/${project}/${resource}/${stream}`;
};
const weir = (name: StreamName, resource: string) =>
  openshift(name, resource).replace('image.openshift.io', 'weir.dev');

/** Something that is done to both. */
interface Step {
  readonly stream: StreamName;
  readonly tag: string;
  /** @returns the status with which it is answered */
  readonly model: (model: StreamModel) => number;
  readonly real: () => Promise<Response | undefined>;
  readonly text: string;
}

const inStream = fc.constantFrom(...streams);
const aTag = fc.constantFrom(...tags);
const anImage = fc.constantFrom(...images);

const source: fc.Arbitrary<Source> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('tag' as const), stream: inStream, tag: aTag }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('image' as const),
      stream: inStream,
      image: anImage.map(({ digest }) => digest),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('docker' as const), reference: fc.constant('quay.io/x/y:1') }),
  },
);

function objectReference(from: Source): object {
  if (from.kind === 'docker') return { kind: 'DockerImage', name: from.reference };
  const [namespace, stream] = from.stream.split('/');
  return from.kind === 'tag'
    ? { kind: 'ImageStreamTag', namespace, name: `${stream}:${from.tag}` }
    : { kind: 'ImageStreamImage', namespace, name: `${stream}@${from.image}` };
}

async function put(name: StreamName, tag: string, from: Source, isReference: boolean): Promise<Response> {
  const [namespace, stream] = name.split('/');
  return registry.api(`${openshift(name, 'imagestreamtags')}:${tag}`, {
    method: 'PUT',
    body: {
      metadata: { name: `${stream}:${tag}`, namespace },
      tag: {
        name: tag,
        from: objectReference(from),
        generation: from.kind === 'docker' ? 0 : null,
        reference: isReference,
        referencePolicy: { type: 'Source' },
      },
    },
  });
}

async function removeSpec(name: StreamName, tag: string): Promise<undefined> {
  const path = openshift(name, 'imagestreams');
  const stream = await registry.api(path);
  if (stream.status === 404) return;
  const object = (await stream.json()) as { spec: { tags?: { name: string }[] } };
  object.spec.tags = (object.spec.tags ?? []).filter((each) => each.name !== tag);
  expect((await registry.api(path, { method: 'PUT', body: object })).status).toBe(200);
}

const post = (path: string, spec: object) => registry.api(path, { method: 'POST', body: { spec } });

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.tuple(inStream, aTag, anImage).map(([stream, tag, image]) => ({
      ...{ stream, tag, text: `push ${image.digest.slice(7, 11)} to ${stream}:${tag}` },
      model: (model: StreamModel) => model.push(stream, tag, image.digest),
      real: () => putManifest(registry, stream, image, tag),
    })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(inStream, aTag, anImage).map(([stream, tag, image]) => ({
      ...{ stream, tag, text: `push ${image.digest.slice(7, 11)} to ${stream} by digest` },
      model: (model: StreamModel) => model.push(stream, undefined, image.digest),
      real: () => putManifest(registry, stream, image),
    })),
  },
  {
    weight: 8,
    arbitrary: fc.tuple(inStream, aTag, source, fc.integer({ min: 0, max: 3 })).map(([stream, tag, from, chance]) => ({
      ...{
        stream,
        tag,
        text: `tag ${stream}:${tag} from ${JSON.stringify(from)}${chance === 0 ? ' by reference' : ''}`,
      },
      model: (model: StreamModel) => model.tag(stream, tag, from, chance === 0),
      real: () => put(stream, tag, from, chance === 0),
    })),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(inStream, aTag).map(([stream, tag]) => ({
      ...{ stream, tag, text: `take ${tag} out of the spec of ${stream}` },
      model: (model: StreamModel) => {
        model.removeSpec(stream, tag);
        return 0;
      },
      real: () => removeSpec(stream, tag),
    })),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(inStream, aTag).map(([stream, tag]) => ({
      ...{ stream, tag, text: `delete ${stream}:${tag}` },
      model: (model: StreamModel) => model.deleteTag(stream, tag),
      real: () => registry.api(`${openshift(stream, 'imagestreamtags')}:${tag}`, { method: 'DELETE' }),
    })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(inStream, aTag).map(([stream, tag]) => ({
      ...{ stream, tag, text: `delete ${stream}:${tag} through the registry` },
      model: (model: StreamModel) => model.untag(stream, tag),
      real: () => registry.fetch(`/v2/${stream}/manifests/${tag}`, { method: 'DELETE' }),
    })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(inStream, aTag, anImage).map(([stream, tag, image]) => ({
      ...{ stream, tag, text: `delete ${image.digest.slice(7, 11)} from ${stream}` },
      model: (model: StreamModel) => model.deleteImage(stream, image.digest),
      real: () => registry.fetch(`/v2/${stream}/manifests/${image.digest}`, { method: 'DELETE' }),
    })),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(inStream, aTag, fc.integer({ min: 1, max: 4 }), fc.boolean())
      .map(([stream, tag, n, bySteps]) => {
        const to = bySteps ? { steps: n } : { generation: n };
        return {
          ...{ stream, tag, text: `roll ${stream}:${tag} back to ${JSON.stringify(to)}` },
          model: (model: StreamModel) => model.rollback(stream, tag, to),
          real: () => post(`${weir(stream, 'imagestreamtags')}:${tag}/rollback`, { to }),
        };
      }),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(inStream, aTag).map(([stream, tag]) => ({
      ...{ stream, tag, text: `undelete ${stream}:${tag}` },
      model: (model: StreamModel) => model.undelete(stream, tag),
      real: () => post(`${weir(stream, 'imagestreamtags')}:${tag}/undelete`, {}),
    })),
  },
);

/** Answered alike, and both the same afterwards. */
class Command implements fc.AsyncCommand<StreamModel, Progress> {
  readonly #step: Step;
  constructor(step: Step) {
    this.#step = step;
  }

  check(): boolean {
    return true;
  }

  async run(model: StreamModel, progress: Progress): Promise<void> {
    const { stream, tag } = this.#step;
    progress.steps += 1;
    const status = this.#step.model(model);
    const response = await this.#step.real();
    if (response !== undefined) expect(response.status, await response.text()).toBe(status);
    await expectAlike(model, stream, tag, progress);
  }

  toString(): string {
    return this.#step.text;
  }
}

interface Progress {
  steps: number;
  version: number;
}

async function expectAlike(model: StreamModel, name: StreamName, tag: string, progress: Progress): Promise<void> {
  const expected = model.find(name);
  const response = await registry.api(openshift(name, 'imagestreams'));
  if (expected === undefined) {
    expect(response.status).toBe(404);
    return;
  }
  const stream = (await response.json()) as Shown;
  const { host } = new URL(registry.url);
  expect(stream.metadata.generation).toBe(expected.generation);
  const names = [...expected.tags.keys()].sort();
  expect(stream.spec.tags ?? []).toMatchObject(
    names.flatMap((each) => {
      const spec = expected.tags.get(each)!.spec;
      return spec === undefined ? [] : [{ name: each, from: objectReference(spec.from), generation: spec.generation }];
    }),
  );
  const items = (events: readonly ModelEvent[]) =>
    events.map(({ image, place, generation }) => ({
      image,
      generation,
      dockerImageReference: image === '' ? place : `${host}/${place}@${image}`,
    }));
  expect(stream.status.tags ?? []).toMatchObject(
    names.flatMap((each) => {
      const events = model.itemsOf(name, each);
      return events.length === 0 ? [] : [{ tag: each, items: items(events) }];
    }),
  );
  const version = Number(stream.metadata.resourceVersion);
  expect(version).toBeGreaterThan(0);
  progress.version = Math.max(progress.version, version);

  const pulled = await registry.fetch(`/v2/${name}/manifests/${tag}`, { method: 'HEAD' });
  expect(pulled.headers.get('Docker-Content-Digest') ?? undefined).toBe(model.servedBy(name, tag));

  const history = expected.history.get(tag) ?? [];
  const told = await registry.api(`${weir(name, 'imagestreamtags')}:${tag}/history?limit=1000`);
  expect(told.status).toBe(history.length === 0 ? 404 : 200);
  if (history.length === 0) return;
  const { items: events } = (await told.json()) as { items: readonly object[] };
  expect(events).toHaveLength(history.length);
  expect(events).toMatchObject(
    [...history].reverse().map(({ sequence, cause, image, backTo }) => ({
      generation: sequence,
      cause,
      ...(image !== '' && { image }),
      ...(backTo !== undefined && { backTo }),
      current: sequence === expected.tags.get(tag)?.sequence,
    })),
  );
}

interface Shown {
  readonly metadata: { readonly generation: number; readonly resourceVersion: string };
  readonly spec: { readonly tags?: readonly object[] };
  readonly status: { readonly tags?: readonly object[] };
}

async function clear(): Promise<void> {
  for (const name of streams) await registry.api(openshift(name, 'imagestreams'), { method: 'DELETE' });
}

/** Runs of random length, until there were as many steps as are wanted. */
async function runModel(total: number, model: () => StreamModel, seed?: number): Promise<number> {
  const progress: Progress = { steps: 0, version: 0 };
  const commands = fc.commands([step.map((each) => new Command(each))], { maxCommands: stepsInRun, size: 'max' });
  const property = fc.asyncProperty(commands, async (run) => {
    await clear();
    await fc.asyncModelRun(() => ({ model: model(), real: progress }), run);
  });
  while (progress.steps < total) await fc.assert(property, { numRuns: 20, ...(seed !== undefined && { seed }) });
  return progress.steps;
}

test(`streams do what the model does, in ${steps} steps`, async () => {
  const done = await runModel(steps, () => new StreamModel());
  expect(done).toBeGreaterThanOrEqual(steps);
});

test('a model with a wrong rule is found out', async () => {
  /** Lets a push of the same image be an event. */
  class WrongModel extends StreamModel {
    override deleteTag(name: StreamName, tag: string): number {
      const status = super.deleteTag(name, tag);
      if (status === 200) super.push(name, tag, images[0]!.digest);
      return status;
    }
  }
  await expect(runModel(1000, () => new WrongModel(), 1)).rejects.toThrow(/delete (red|blue)\//);
});
