/** A stream by project and name, as in `red/app`. */
export type StreamName = `${string}/${string}`;

/** Where a tag is to take its image from. */
export type Source =
  | { readonly kind: 'tag'; readonly stream: StreamName; readonly tag: string }
  | { readonly kind: 'image'; readonly stream: StreamName; readonly image: string }
  | { readonly kind: 'docker'; readonly reference: string };

/** What a tag is wanted to be. */
export interface ModelSpec {
  readonly from: Source;
  readonly isReference: boolean;
  readonly generation: number;
}

/** What an event points at: the image of a stream, or a pull spec elsewhere. */
export interface Target {
  /** Empty for what is elsewhere. */
  readonly image: string;
  /** A stream, or a pull spec. */
  readonly place: string;
}

/** One change of a tag. */
export interface ModelEvent extends Target {
  readonly sequence: number;
  readonly cause: 'push' | 'tag' | 'rollback' | 'delete' | 'undelete';
  generation: number;
  readonly backTo: number | undefined;
  isShown: boolean;
}

interface ModelTag {
  spec: ModelSpec | undefined;
  /** Of the newest event; 0 when nothing has happened in this life. */
  sequence: number;
  firstSequence: number;
}

interface ModelStream {
  generation: number;
  readonly tags: Map<string, ModelTag>;
  /** By tag, oldest first; it outlives the tags. */
  readonly history: Map<string, ModelEvent[]>;
  readonly images: Set<string>;
}

/** What of an event is decided by whoever adds it. */
type NewEvent = Target & Pick<ModelEvent, 'cause' | 'generation'> & { readonly backTo?: number };

/**
 * What image streams do, in the plainest way: the rules of the reference for generations, histories and tags that follow,
 * with nothing of how Weir keeps them. Each action says with which status it is answered.
 */
export class StreamModel {
  readonly #streams = new Map<StreamName, ModelStream>();

  find(name: StreamName): ModelStream | undefined {
    return this.#streams.get(name);
  }

  /** Newest first. */
  itemsOf(name: StreamName, tag: string): readonly ModelEvent[] {
    const stream = this.#streams.get(name);
    const state = stream?.tags.get(tag);
    if (stream === undefined || state === undefined || state.sequence === 0) return [];
    return (stream.history.get(tag) ?? [])
      .filter(({ sequence, isShown }) => isShown && sequence >= state.firstSequence && sequence <= state.sequence)
      .reverse();
  }

  /** The image that the registry serves for a tag. */
  servedBy(name: StreamName, tag: string): string | undefined {
    const [head] = this.itemsOf(name, tag);
    if (head?.place !== name) return undefined;
    return this.#streams.get(name)!.images.has(head.image) ? head.image : undefined;
  }

  push(name: StreamName, tag: string | undefined, image: string): number {
    const stream = this.#ensure(name);
    stream.images.add(image);
    if (tag !== undefined) {
      this.#addEvent(name, tag, { image, place: name, generation: stream.generation, cause: 'push' });
    }
    return 201;
  }

  /** As `oc tag` does it; what comes from elsewhere is asked for anew each time. */
  tag(name: StreamName, tag: string, from: Source, isReference: boolean): number {
    const existing = this.#streams.get(name);
    const old = existing?.tags.get(tag)?.spec;
    const isAsked = from.kind === 'docker';
    const isChanged = old === undefined || !isSame(old.from, from) || old.isReference !== isReference || isAsked;
    const generation = existing === undefined ? 1 : existing.generation + (isChanged ? 1 : 0);
    const target = isChanged ? this.#resolve(name, from, isReference) : undefined;
    if (target === 'missing') return 422;
    const stream = this.#ensure(name);
    stream.generation = generation;
    const state = this.#ensureTag(stream, tag);
    state.spec = { from, isReference, generation: isChanged ? generation : old.generation };
    if (target !== undefined) {
      const { image, place, isTaken } = target;
      const source = from.kind === 'docker' ? undefined : this.#streams.get(from.stream);
      if (isTaken && source?.images.has(image) === true) stream.images.add(image);
      this.#addEvent(name, tag, { image, place, generation, cause: 'tag' });
    }
    return old === undefined ? 201 : 200;
  }

  /** By an edit of the stream: what the tag is stays. */
  removeSpec(name: StreamName, tag: string): void {
    const stream = this.#streams.get(name);
    const state = stream?.tags.get(tag);
    if (stream === undefined || state?.spec === undefined) return;
    stream.generation += 1;
    state.spec = undefined;
    if (state.sequence === 0) stream.tags.delete(tag);
  }

  deleteTag(name: StreamName, tag: string): number {
    const stream = this.#streams.get(name);
    const state = stream?.tags.get(tag);
    if (stream === undefined || state === undefined) return 404;
    if (state.spec !== undefined) stream.generation += 1;
    this.#removeTag(stream, tag);
    return 200;
  }

  /** Through the registry, which knows no generation. */
  untag(name: StreamName, tag: string): number {
    const stream = this.#streams.get(name);
    if (stream?.tags.has(tag) !== true) return 404;
    this.#removeTag(stream, tag);
    return 202;
  }

  deleteImage(name: StreamName, image: string): number {
    const stream = this.#streams.get(name);
    if (stream?.images.has(image) !== true) return 404;
    for (const tag of [...stream.tags.keys()]) if (this.servedBy(name, tag) === image) this.#removeTag(stream, tag);
    for (const event of [...stream.history.values()].flat()) {
      if (event.image === image && event.place === name) event.isShown = false;
    }
    stream.images.delete(image);
    return 202;
  }

  rollback(name: StreamName, tag: string, to: { readonly steps: number } | { readonly generation: number }): number {
    const stream = this.#streams.get(name);
    const items = this.itemsOf(name, tag);
    if (stream === undefined || items.length === 0) return 404;
    const event =
      'steps' in to
        ? items[to.steps]
        : stream.history.get(tag)!.find(({ sequence, cause }) => sequence === to.generation && cause !== 'delete');
    if (event === undefined) return 'steps' in to ? 400 : 404;
    if (event.image !== '' && event.place === name && !stream.images.has(event.image)) return 409;
    const { image, place, sequence: backTo } = event;
    this.#addEvent(name, tag, { image, place, generation: stream.generation, cause: 'rollback', backTo });
    return 201;
  }

  undelete(name: StreamName, tag: string): number {
    const stream = this.#streams.get(name);
    if (stream === undefined) return 404;
    if ((stream.tags.get(tag)?.sequence ?? 0) > 0) return 409;
    const history = stream.history.get(tag) ?? [];
    const deletion = history.at(-1);
    if (deletion?.cause !== 'delete') return 404;
    const life = history.slice(
      history.findLastIndex((event) => event.cause === 'delete' && event !== deletion) + 1,
      -1,
    );
    const last = life.findLast(({ isShown }) => isShown);
    if (last === undefined) return 404;
    if (last.image !== '' && last.place === name && !stream.images.has(last.image)) return 409;
    const { image, place, sequence: backTo } = last;
    this.#addEvent(name, tag, { image, place, generation: stream.generation, cause: 'undelete', backTo });
    stream.tags.get(tag)!.firstSequence = life[0]!.sequence;
    return 201;
  }

  deleteStream(name: StreamName): number {
    return this.#streams.delete(name) ? 200 : 404;
  }

  /** `isTaken`: the image becomes the stream's own. */
  #resolve(
    name: StreamName,
    from: Source,
    isReference: boolean,
  ): (Target & { readonly isTaken: boolean }) | 'missing' | undefined {
    if (from.kind === 'docker') return isReference ? { image: '', place: from.reference, isTaken: false } : undefined;
    const source = this.#streams.get(from.stream);
    // A stream that is just being made is there already for itself.
    if (source === undefined) return from.stream === name && from.kind === 'tag' ? undefined : 'missing';
    let found: Target | undefined;
    if (from.kind === 'tag') {
      found = this.itemsOf(from.stream, from.tag)[0];
      if (found === undefined) return undefined;
    } else {
      // Of the events of an image the first by tag and age counts; what was only pushed by digest is known as well.
      const tags = [...source.history.keys()].sort();
      const events = tags.flatMap((tag) => source.history.get(tag)!);
      found = events.find(({ image, isShown, cause }) => image === from.image && isShown && cause !== 'delete');
      if (found === undefined && source.images.has(from.image)) found = { image: from.image, place: from.stream };
      if (found === undefined) return 'missing';
    }
    const { image, place } = found;
    // What the source has itself becomes the stream's own, unless only a pointer is wanted.
    const isTaken = place === from.stream && !isReference;
    return { image, place: isTaken ? name : place, isTaken };
  }

  #addEvent(name: StreamName, tag: string, event: NewEvent): void {
    const stream = this.#streams.get(name)!;
    if (!this.#addToTag(stream, name, tag, event)) return;
    for (const [follower, { spec }] of stream.tags) {
      if (follower === tag || spec?.from.kind !== 'tag') continue;
      const { backTo: _backTo, ...told } = event;
      if (spec.from.stream === name && spec.from.tag === tag) this.#addToTag(stream, name, follower, told);
    }
  }

  #addToTag(stream: ModelStream, name: StreamName, tag: string, event: NewEvent): boolean {
    const state = this.#ensureTag(stream, tag);
    const [head] = this.itemsOf(name, tag);
    const isSameImage = head?.image === event.image;
    const isSamePlace = head?.place === event.place && (isSameImage || event.image === '');
    if (isSamePlace && isSameImage) {
      if (head.generation === event.generation) return false;
      head.generation = event.generation;
      return true;
    }
    if (head !== undefined && (isSamePlace || isSameImage)) head.isShown = false;
    const sequence = this.#append(stream, tag, { ...event, isShown: true });
    if (state.sequence === 0) state.firstSequence = sequence;
    state.sequence = sequence;
    return true;
  }

  #append(stream: ModelStream, tag: string, event: NewEvent & { readonly isShown: boolean }): number {
    const history = stream.history.get(tag) ?? [];
    stream.history.set(tag, history);
    const sequence = history.length + 1;
    history.push({ backTo: undefined, ...event, sequence });
    return sequence;
  }

  #removeTag(stream: ModelStream, tag: string): void {
    const { sequence } = stream.tags.get(tag)!;
    stream.tags.delete(tag);
    if (sequence === 0) return;
    this.#append(stream, tag, { image: '', place: '', generation: 0, cause: 'delete', isShown: false });
  }

  #ensure(name: StreamName): ModelStream {
    const stream = this.#streams.get(name) ?? { generation: 1, tags: new Map(), history: new Map(), images: new Set() };
    this.#streams.set(name, stream);
    return stream;
  }

  #ensureTag(stream: ModelStream, tag: string): ModelTag {
    const state = stream.tags.get(tag) ?? { spec: undefined, sequence: 0, firstSequence: 0 };
    stream.tags.set(tag, state);
    return state;
  }
}

function isSame(a: Source, b: Source): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
