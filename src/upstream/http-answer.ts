import type { Readable } from 'node:stream';

/** An answer whose body has not been read. */
export interface HttpAnswer {
  readonly status: number;
  /** Who answered, after redirects. */
  readonly url: URL;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** As it came over the wire: nothing is decompressed. */
  readonly body: Readable;
}

/** The value of a header; of several with one name all of them. */
export function headerOf({ headers }: Pick<HttpAnswer, 'headers'>, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** The media type without parameters, in lower case; empty when there is none. */
export function mediaTypeOf(answer: Pick<HttpAnswer, 'headers'>): string {
  return (headerOf(answer, 'content-type') ?? '').split(/[;,]/, 1)[0]!.trim().toLowerCase();
}

/** Bytes of the body, as the other side announces; undefined when it does not. */
export function contentLengthOf(answer: Pick<HttpAnswer, 'headers'>): number | undefined {
  const text = headerOf(answer, 'content-length');
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text);
}

/** Lets go of a body that nobody reads. */
export function discard({ body }: Pick<HttpAnswer, 'body'>): void {
  body.destroy();
}

/** More bytes than were asked for. */
export class TooLargeError extends Error {
  override readonly name = 'TooLargeError';
}

/**
 * The whole body.
 *
 * @throws {TooLargeError} when it has more than so many bytes
 */
export async function readBody(answer: HttpAnswer, maxBytes: number): Promise<Buffer> {
  const { bytes, isWhole } = await readBeginning(answer, maxBytes);
  if (!isWhole) throw new TooLargeError(`answers with more than ${maxBytes} bytes`);
  return bytes;
}

async function readBeginning(answer: HttpAnswer, maxBytes: number): Promise<{ bytes: Buffer; isWhole: boolean }> {
  const announced = contentLengthOf(answer);
  const chunks: Buffer[] = [];
  let size = 0;
  if (announced !== undefined && announced > maxBytes) {
    discard(answer);
    return { bytes: Buffer.alloc(0), isWhole: false };
  }
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) {
      discard(answer);
      return { bytes: Buffer.concat(chunks), isWhole: false };
    }
    chunks.push(chunk);
  }
  return { bytes: Buffer.concat(chunks), isWhole: true };
}

const maxErrorBytes = 64 * 1024;
const maxShownLength = 300;

/** What the other side says of an error, in one short line; undefined when it says nothing that can be shown. */
export async function readErrorText(answer: HttpAnswer): Promise<string | undefined> {
  const { bytes } = await readBeginning(answer, maxErrorBytes).catch(() => ({ bytes: Buffer.alloc(0) }));
  return errorText(bytes.toString('utf8'));
}

/** The messages of an error body (OCI Distribution Spec, "Error Codes"), or those of token endpoints. */
function errorText(body: string): string | undefined {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (typeof json !== 'object' || json === null) return undefined;
  const { errors, details, message, error_description: description } = json as Record<string, unknown>;
  const told = Array.isArray(errors)
    ? errors.slice(0, 5).map((error: unknown) => {
        const { code, message } = (error ?? {}) as Record<string, unknown>;
        return [code, message].filter((part) => typeof part === 'string' && part !== '').join(': ');
      })
    : [details, message, description].filter((part) => typeof part === 'string').slice(0, 1);
  return shown(told.filter((text) => text !== '').join('; '));
}

/** One line of visible characters, shortened; undefined when nothing is left. */
export function shown(text: string): string | undefined {
  const line = text
    .slice(0, 10 * maxShownLength)
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()
    .slice(0, maxShownLength);
  return line === '' ? undefined : line;
}
