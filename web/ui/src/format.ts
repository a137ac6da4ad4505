export const superscript = (n: number) => [...String(n)].map((c) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(c)] ?? '⁻').join('');

/** A number in four significant digits, as short as it can be. */
export function number(x: number | null | undefined): string {
  if (x === null || x === undefined || Number.isNaN(x)) return '–';
  if (x === 0) return '0';
  const size = Math.abs(x);
  if (size === Infinity) return x > 0 ? '∞' : '−∞';
  if (size >= 1e5 || size < 1e-3) {
    const [digits, exponent] = x.toExponential(3).split('e');
    return `${Number(digits)}×10${superscript(Number(exponent))}`.replace('-', '−');
  }
  return String(Number(x.toPrecision(4))).replace('-', '−');
}

/** A value with its standard error, to two digits of the error. */
export function withError(x: number | null, error: number | null): string {
  if (x === null || error === null || !(error > 1e-6 * Math.abs(x))) return number(x); // more digits than anyone reads
  const place = 1 - Math.floor(Math.log10(error));
  const size = Math.abs(x);
  if (place < 0 || place > 5 || size >= 1e5) {
    const e = Math.floor(Math.log10(Math.max(size, error)));
    const f = 10 ** e;
    const digits = Math.max(0, e + place);
    return `(${(x / f).toFixed(digits)} ± ${(error / f).toFixed(digits)})×10${superscript(e)}`.replace('(-', '(−');
  }
  return `${x.toFixed(place)} ± ${error.toFixed(place)}`.replace(/^-/, '−');
}

/** A reading: in brackets where it is not valid. */
export function read(r: { value: number | null; stderr: number | null; valid: boolean }): string {
  return r.value === null ? '–' : r.valid ? withError(r.value, r.stderr) : `(${withError(r.value, r.stderr)})`;
}

/** Whether a temperature is below zero by more than two standard errors, and so that of a passing state. */
export const passing = (x: number | null, error: number | null) => x !== null && x + 2 * (error ?? 0) < 0;

export const capital = (s: string) => s.charAt(0).toUpperCase() + s.slice(1);

/** Dotted names without the parts at both ends that all of them share: the rest tells them apart. */
export function distinct(names: string[]): string[] {
  const parts = names.map((n) => n.split('.'));
  const shared = (at: (p: string[], i: number) => string) => { let i = 0; while (parts.length > 1 && parts.every((p) => p.length > i + 1 && at(p, i) === at(parts[0], i))) i++; return i; };
  const left = shared((p, i) => p[i]);
  parts.forEach((p) => p.splice(0, left));
  const right = shared((p, i) => p[p.length - 1 - i]);
  return parts.map((p) => p.slice(0, p.length - right).join('.'));
}

export function count(n: number): string { return n.toLocaleString('en').replace('-', '−'); }

export function ago(time: number, now: number): string {
  if (!time) return '–';
  const s = now - time;
  if (s < 5) return 'now';
  for (const [unit, length] of [['s', 60], ['min', 60], ['h', 24], ['d', 365]] as const) {
    const size = { s: 1, min: 60, h: 3600, d: 86400 }[unit];
    if (s < size * length) return `${Math.floor(s / size)} ${unit} ago`;
  }
  return new Date(time * 1000).toISOString().slice(0, 10);
}

/** Whether the numbers of an axis count things, and are whole: its unit says so. */
export const whole = (title: string) => title.endsWith('(count)');

/** Text of numbers with true minus signs. */
export const minus = (s: string) => s.replace(/(^|[\s(])-(?=[\d.])/g, '$1−');
