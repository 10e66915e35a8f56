import { MultiBar, type SingleBar } from 'cli-progress';
import { formatSize } from './output.js';
import { plainText } from './plain-text.js';
import type { CopyDisplay, CopyReport } from './registry-copy-report.js';

/** Shows what happens until it is closed. */
export interface CopyProgress extends CopyDisplay {
  /** @param report of what is to be shown */
  readonly follow: (report: CopyReport) => void;
  readonly close: () => void;
}

/** Between two lines where nothing can be drawn. */
const lineEveryMs = 5000;
const drawsPerSecond = 5;
/** Of smaller ones a bar would be gone before anybody sees it. */
const leastShownSize = 1024 * 1024;
const shownNameLength = 44;

/** For files and logs: a line every few seconds, when something has changed. */
export function lineProgress(note: (text: string) => void, everyMs = lineEveryMs): CopyProgress {
  let timer: NodeJS.Timeout | undefined;
  let last = '';
  return {
    follow: (report) => {
      timer = setInterval(() => {
        const line = report.line();
        if (line !== last) note(`${line}\n`);
        last = line;
      }, everyMs).unref();
    },
    blobStarted: () => ({ advance: () => undefined, end: () => undefined }),
    say: (line) => {
      note(`${line}\n`);
    },
    close: () => {
      clearInterval(timer);
    },
  };
}

/** For people: one bar for all and one for each large blob on its way. */
export function barProgress(stream: NodeJS.WritableStream): CopyProgress {
  const bars = new MultiBar({
    stream,
    fps: drawsPerSecond,
    clearOnComplete: true,
    hideCursor: true,
    format: '{bar} {percentage}% {name} {done}',
    barsize: 20,
    barCompleteChar: '#',
    barIncompleteChar: '.',
    linewrap: false,
    gracefulExit: false,
  });
  let all: SingleBar | undefined;
  let timer: NodeJS.Timeout | undefined;
  return {
    follow: (report) => {
      // How much there will be is known only at the end, so it is a line and no bar.
      all = bars.create(1, 0, { line: report.line() }, { format: '{line}' });
      timer = setInterval(() => all?.update({ line: report.line() }), 1000 / drawsPerSecond).unref();
    },
    blobStarted: (name, size) => {
      if (size < leastShownSize) return { advance: () => undefined, end: () => undefined };
      let sent = 0;
      const payload = () => ({ name: shorten(name), done: `${formatSize(sent)} of ${formatSize(size)}` });
      const bar = bars.create(size, 0, payload());
      return {
        advance: (bytes) => {
          sent += bytes;
          bar.update(sent, payload());
        },
        end: () => {
          bars.remove(bar);
        },
      };
    },
    say: (line) => {
      bars.log(`${line}\n`);
    },
    close: () => {
      clearInterval(timer);
      bars.stop();
    },
  };
}

function shorten(name: string): string {
  const text = plainText(name).replace(/(@sha\d+:[0-9a-f]{12})[0-9a-f]+$/, '$1');
  return text.length > shownNameLength ? `…${text.slice(1 - shownNameLength)}` : text;
}
