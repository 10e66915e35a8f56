const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

/**
 * How long ago an object was made, as kubectl prints it in an Age column: two or three figures, such as `119s`,
 * `3m20s`, `8h` or `2y30d`. `<unknown>` stands for a time that is absent or no time, `<invalid>` for one to come;
 * clocks that differ by less than two seconds are taken for equal (`k8s.io/apimachinery/pkg/util/duration`,
 * HumanDuration).
 *
 * @param createdAt RFC 3339, as in metadata.creationTimestamp
 */
export function ageOf(createdAt: string | undefined, now: Date): string {
  const age = millisecondsSince(createdAt, now);
  if (age === undefined) return '<unknown>';
  if (age <= -2 * second) return '<invalid>';
  if (age < 0) return '0s';
  const seconds = Math.floor(age / second);
  const minutes = Math.floor(age / minute);
  const hours = Math.floor(age / hour);
  const days = Math.floor(hours / 24);
  const years = Math.floor(days / 365);
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return `${minutes}m${remainder(seconds % 60, 's')}`;
  if (minutes < 180) return `${minutes}m`;
  if (hours < 8) return `${hours}h${remainder(minutes % 60, 'm')}`;
  if (hours < 48) return `${hours}h`;
  if (days < 8) return `${days}d${remainder(hours % 24, 'h')}`;
  if (years < 2) return `${days}d`;
  if (years < 8) return `${years}y${remainder(days % 365, 'd')}`;
  return `${years}y`;
}

function remainder(count: number, unit: string): string {
  return count === 0 ? '' : `${count}${unit}`;
}

/**
 * How long ago something happened, in the words of the Updated columns of image streams: `About a minute ago`,
 * `3 days ago`. A time to come is `Less than a second ago`, one that is absent or no time gives empty text
 * (`github.com/docker/go-units`, HumanDuration).
 *
 * @param createdAt RFC 3339, as in metadata.creationTimestamp
 */
export function agoOf(createdAt: string | undefined, now: Date): string {
  const age = millisecondsSince(createdAt, now);
  return age === undefined ? '' : `${inWords(age)} ago`;
}

function inWords(age: number): string {
  const seconds = Math.floor(age / second);
  const minutes = Math.floor(age / minute);
  // Only from hours on does go-units round to the nearest; years it cuts off again.
  const hours = Math.round(age / hour);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(age / hour / 24 / 365)} years`;
}

function millisecondsSince(time: string | undefined, now: Date): number | undefined {
  if (time === undefined) return undefined;
  const milliseconds = now.getTime() - Date.parse(time);
  return Number.isNaN(milliseconds) ? undefined : milliseconds;
}
