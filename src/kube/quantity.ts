/** A resource.Quantity: how much of something, and in which family of units it was written. */
export interface Quantity {
  /** As near as a double comes to it, which is exactly for whole numbers up to 2^53. */
  readonly value: number;
  readonly units: 'decimal' | 'binary';
}

const pattern = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([KMGTPE])i|([numkMGTPE])|([eE][+-]?\d+))?$/;
const binaryUnits = ['', 'K', 'M', 'G', 'T', 'P', 'E'];
const decimalUnits = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
const fractions: Readonly<Record<string, number>> = { n: 1e9, u: 1e6, m: 1e3 };

/** @returns undefined for a text that is no quantity (`k8s.io/apimachinery/pkg/api/resource`, ParseQuantity) */
export function readQuantity(text: string): Quantity | undefined {
  const [, number, binary, decimal, exponent = ''] = pattern.exec(text) ?? [];
  if (number === undefined) return undefined;
  if (binary !== undefined) return { value: Number(number) * 1024 ** binaryUnits.indexOf(binary), units: 'binary' };
  if (decimal === undefined) return { value: Number(number + exponent), units: 'decimal' };
  const fraction = fractions[decimal];
  const value =
    fraction === undefined ? Number(number) * 1000 ** decimalUnits.indexOf(decimal) : Number(number) / fraction;
  return { value, units: 'decimal' };
}

/** The one way in which Kubernetes writes it: in the largest unit that leaves no fraction, thousandths rounded up. */
export function formatQuantity({ value, units }: Quantity): string {
  if (!Number.isInteger(value)) return Number.isFinite(value) ? `${Math.ceil(value * 1000)}m` : String(value);
  const isBinary = units === 'binary' && Math.abs(value) >= 1024;
  const step = isBinary ? 1024 : 1000;
  let number = value;
  let unit = 0;
  while (number !== 0 && number % step === 0 && unit < decimalUnits.length - 1) {
    number /= step;
    unit += 1;
  }
  return `${number}${isBinary && unit > 0 ? `${binaryUnits[unit]!}i` : decimalUnits[unit]!}`;
}
