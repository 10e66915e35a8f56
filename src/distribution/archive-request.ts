import type { IncomingMessage } from 'node:http';
import { finished, type Readable } from 'node:stream';
import busboy from 'busboy';
import { OciError } from '../oci/errors.js';

/** A form that has one file and some texts. */
export interface FormRequest<T> {
  /** Names of the texts, none of which has to be there. */
  readonly fields: readonly string[];
  /** Name of the file. */
  readonly file: string;
  /** Takes the bytes of the file as they come. */
  readonly receive: (file: Readable) => Promise<T>;
  /** Undoes `receive`, when the rest of the form is wrong. */
  readonly discard: (received: T) => Promise<void>;
}

/** What a form came to. */
export interface ReceivedForm<T> {
  readonly file: T;
  readonly fields: ReadonlyMap<string, string>;
}

const maxFieldBytes = 8 * 1024;

/**
 * Reads a form (RFC 7578), in which texts may come before the file and after it.
 *
 * @throws {OciError} UNSUPPORTED with status 400 when it is not the form that is expected; whatever `receive` throws
 */
export async function receiveForm<T>(request: IncomingMessage, expected: FormRequest<T>): Promise<ReceivedForm<T>> {
  const fields = new Map<string, string>();
  let receiving: Promise<T> | undefined;
  try {
    await walkForm(request, {
      onText: (name, value) => {
        if (!expected.fields.includes(name) || fields.has(name))
          throw badForm(`unexpected field ${name.slice(0, 100)}`);
        fields.set(name, value);
      },
      onFile: (name, bytes) => {
        if (name !== expected.file || receiving !== undefined) throw badForm(`unexpected file ${name.slice(0, 100)}`);
        receiving = expected.receive(bytes);
        return receiving;
      },
    });
    if (receiving === undefined) throw badForm(`the form has no file ${expected.file}`);
    return { file: await receiving, fields };
  } catch (error) {
    // Its own failure has been told, or is this one.
    await receiving?.then(expected.discard, () => undefined);
    throw error;
  }
}

/** Reads on and keeps nothing, so that a client that still sends gets to read the answer. */
export function discardBody(request: IncomingMessage): void {
  request.on('data', () => undefined).resume();
}

interface FormListener {
  readonly onText: (name: string, value: string) => void;
  /** Rejects when the form is to be read no further. */
  readonly onFile: (name: string, bytes: Readable) => Promise<unknown>;
}

function walkForm(request: IncomingMessage, { onText, onFile }: FormListener): Promise<void> {
  return new Promise((resolve, reject) => {
    const form = makeParser(request);
    const fail = (error: unknown): void => {
      request.unpipe(form);
      form.destroy();
      reject(error instanceof Error ? error : new Error(String(error)));
    };
    const attempt = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        fail(error);
      }
    };
    form.on('field', (name, value, { nameTruncated, valueTruncated }) => {
      attempt(() => {
        if (nameTruncated || valueTruncated) throw badForm(`a field has at most ${maxFieldBytes} bytes`);
        onText(name, value);
      });
    });
    form.on('file', (name, bytes) => {
      // Heard by whoever reads it, if anybody does.
      bytes.on('error', () => undefined);
      attempt(() => {
        onFile(name, bytes).catch(fail);
      });
    });
    form.on('partsLimit', () => {
      fail(badForm('the form has too many parts'));
    });
    form.on('error', (error) => {
      fail(badForm('the form breaks off before its end, or is none', error));
    });
    form.on('close', resolve);
    // A pipe says nothing of a client that went away.
    finished(request, { writable: false }, (error) => {
      if (error) fail(badForm('the body broke off before its end', error));
    });
    request.pipe(form);
  });
}

function makeParser(request: IncomingMessage): busboy.Busboy {
  try {
    return busboy({ headers: request.headers, limits: { fieldNameSize: 100, fieldSize: maxFieldBytes, parts: 10 } });
  } catch (error) {
    throw badForm('the header Content-Type does not say how the form is divided', error);
  }
}

function badForm(reason: string, cause?: unknown): OciError {
  return new OciError('UNSUPPORTED', { reason }, { status: 400, cause });
}
