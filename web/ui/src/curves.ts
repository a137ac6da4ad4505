import type { Curve, Layers } from './api';
import type { Trace } from './Plot.svelte';

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

/** The layers as rows of equal columns from from to to. */
export function cells(layers: Layers, from: number, to: number): (number | null)[][] {
  const columns = 300, width = (to - from + 1) / columns;
  return layers.curves.map((c) => {
    const row: (number | null)[] = new Array(columns).fill(null);
    c.first.forEach((first, i) => {
      // A column without a record shows the one before it, up to the next.
      const a = Math.max(0, Math.floor((first - from) / width));
      const next = i + 1 < c.first.length ? c.first[i + 1] : c.last[i] + 1;
      const b = Math.min(columns, Math.max(a + 1, Math.floor((next - from) / width)));
      for (let j = a; j < b; j++) row[j] = c.mean[i];
    });
    return row;
  });
}

/** The last known mean of a curve, with its standard error. */
export function end(c: Curve | undefined): [number | null, number | null] {
  for (let i = (c?.mean.length ?? 0) - 1; i >= 0; i--) if (c!.mean[i] !== null) return [c!.mean[i], c!.stderr[i]];
  return [null, null];
}
