import type { Curve } from './api';
import { withError } from './format';
import type { Mark, Trace } from './Plot.svelte';

/** A curve as a line: means of intervals, with two standard errors of them and, where it is alone, its extremes. */
export function trace(name: string, colour: string, c: Curve, alone: boolean): Trace {
  const band = (sign: number) => c.mean.map((m, i) => (m === null || c.stderr[i] === null ? null : m + sign * 2 * c.stderr[i]!));
  return {
    name, colour, x: c.first.map((f, i) => (f + c.last[i]) / 2), y: c.mean, low: band(-1), high: band(1),
    positive: c.min.every((v) => v === null || v >= 0), ...(alone ? { least: c.min, most: c.max } : {}),
  };
}

/** What is not finite is said rather than left out in silence. */
export function missing(curves: Curve[]): string {
  const n = curves.reduce((sum, c) => sum + c.not_finite.reduce((a, b) => a + b, 0), 0);
  return n ? `Not finite, and so not drawn: ${n.toLocaleString('en')} ${n === 1 ? 'value' : 'values'}.` : '';
}

/** The stretches of steps in which a curve has values that are not finite, named if they are few. */
export function gaps(c: Curve): Mark[] {
  const list: Mark[] = [];
  c.not_finite.forEach((n, i) => {
    if (n && c.not_finite[i - 1]) list[list.length - 1].to = c.last[i];
    else if (n) list.push({ from: c.first[i], to: c.last[i], name: 'not finite' });
  });
  return list.length <= 3 ? list : list.map((m) => ({ ...m, name: '' }));
}

/** Whether a loss falls by two powers of ten, and so is read on a logarithmic axis. */
export function falls(c: Curve): boolean {
  const known = c.mean.filter((m): m is number => m !== null);
  return Math.min(...known) > 0 && Math.max(...known) / Math.min(...known) > 100;
}

/** The layers as rows of equal columns from from to to: their means, or the standard errors of these. */
export function cells(layers: Curve[], from: number, to: number, of: 'mean' | 'stderr' = 'mean'): (number | null)[][] {
  const columns = 300, width = (to - from + 1) / columns;
  return layers.map((c) => {
    const row: (number | null)[] = new Array(columns).fill(null);
    c.first.forEach((first, i) => {
      // A column without a record shows the one before it, up to the next.
      const a = Math.max(0, Math.floor((first - from) / width));
      const next = i + 1 < c.first.length ? c.first[i + 1] : c.last[i] + 1;
      const b = Math.min(columns, Math.max(a + 1, Math.floor((next - from) / width)));
      for (let j = a; j < b; j++) row[j] = c[of][i];
    });
    return row;
  });
}

/** What the last interval of a curve says: its mean with its standard error, or that it has none that is finite, and then what was last. */
export function ending(c: Curve | undefined, diverged = false): { value: string; note: string } {
  const last = withError(...end(c));
  return c?.not_finite.at(-1) && (diverged || c.mean.at(-1) === null) ? { value: 'not finite', note: `last that was: ${last}` } : { value: last, note: 'last interval' };
}

/** The last known mean of a curve, with its standard error. */
export function end(c: Curve | undefined): [number | null, number | null] {
  for (let i = (c?.mean.length ?? 0) - 1; i >= 0; i--) if (c!.mean[i] !== null) return [c!.mean[i], c!.stderr[i]];
  return [null, null];
}
