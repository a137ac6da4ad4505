// What canvases need to be drawn on: axes, text, and how they are saved.
import { number, superscript } from './format';
import type { Ink } from './look.svelte';
import { scale } from './scale';

export const font = (size = 12, weight = 400) => `${weight} ${size}px system-ui, -apple-system, "Segoe UI", sans-serif`;

/** At most about most round numbers from low to high. */
export function ticks(low: number, high: number, most: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((f) => f * power >= rough * (1 - 1e-9)) ?? 10);
  const list = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) list.push(i * step || 0); // no −0
  return list;
}

/** The stretch of an axis after a key that looks closer (+, =) or less close (-) at a place of it; null for other keys. */
export function closer(key: string, low: number, high: number, at: number): [number, number] | null {
  const factor = { '+': 0.5, '=': 0.5, '-': 2 }[key];
  return factor ? [at + factor * (low - at), at + factor * (high - at)] : null;
}

/** At most about most round numbers from low to high, for a logarithmic axis. */
export function powers(low: number, high: number, most: number): number[] {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return ticks(low, high, most);
  const every = Math.max(1, Math.ceil(decades / most)), digits = 3 * decades <= most ? [1, 2, 5] : [1], list = [];
  for (let e = Math.floor(Math.log10(low) / every) * every; 10 ** e <= high; e += every) list.push(...digits.map((d) => d * 10 ** e));
  return list.filter((v) => v >= low * (1 - 1e-9) && v <= high * (1 + 1e-9));
}

/** The power of ten that labels of an axis are written in: 0 unless they are very small or large. */
export function exponentOf(low: number, high: number): number {
  const e = Math.floor(Math.log10(Math.max(Math.abs(low), Math.abs(high))) + 1e-9);
  return Number.isFinite(e) && (e < -3 || e > 5) ? e : 0;
}

/** The title of an axis with the power of ten of its labels, before the unit if there is one. */
export function titled(title: string, exponent: number): string {
  if (!exponent) return title;
  const power = '10' + superscript(exponent), i = title.lastIndexOf('(');
  return i < 0 ? `${title} (${power})` : `${title.slice(0, i + 1)}${power} ${title.slice(i + 1)}`;
}

export const tick = (x: number, exponent: number) => (x / 10 ** exponent).toLocaleString('en', { maximumSignificantDigits: 6 }).replace('-', '−');

/** The label of a tick of a logarithmic axis. */
export function powerTick(x: number): string {
  const e = Math.round(Math.log10(x));
  return Math.abs(x / 10 ** e - 1) < 1e-9 && (e < -3 || e > 4) ? '10' + superscript(e) : number(x);
}

/** Draws a horizontal axis from left to right below y, its grid up to top. */
export function axisBelow(c: CanvasRenderingContext2D, ink: Ink, at: (x: number) => number, low: number, high: number, left: number, right: number, top: number, y: number, title: string) {
  const e = exponentOf(low, high);
  c.font = font();
  c.textBaseline = 'alphabetic';
  c.textAlign = 'center';
  for (const t of ticks(low, high, Math.max(2, (right - left) / 90))) {
    c.strokeStyle = ink.line;
    line(c, at(t), top, at(t), y);
    c.fillStyle = ink.soft;
    const text = tick(t, e), half = c.measureText(text).width / 2;
    c.fillText(text, Math.min(at(t), right + 16 - half), y + 16);
  }
  c.fillText(titled(title, e), (left + right) / 2, y + 34);
}

export function line(c: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number) {
  c.beginPath();
  c.moveTo(x0, y0);
  c.lineTo(x1, y1);
  c.stroke();
}

/** Writes text into a width, with its middle cut out if it must be: names differ at their ends. */
export function fit(c: CanvasRenderingContext2D, text: string, width: number): string {
  if (c.measureText(text).width <= width) return text;
  const letters = [...text];
  for (let n = letters.length - 1; n > 2; n--) {
    const short = letters.slice(0, Math.ceil(n / 2) - 1).join('') + '…' + letters.slice(-Math.floor(n / 2)).join('');
    if (c.measureText(short).width <= width) return short;
  }
  return '…';
}

/** Lines to lay over what is below zero, so that it is told from the rest without colours too; ratio is how many pixels of the canvas are one of the page. */
export function hatch(c: CanvasRenderingContext2D, ink: Ink, ratio: number): CanvasPattern {
  const size = 7 * Math.max(1, Math.round(ratio)), tile = document.createElement('canvas');
  tile.width = tile.height = size;
  const t = tile.getContext('2d')!;
  t.strokeStyle = ink.card;
  t.globalAlpha = 0.5;
  t.lineWidth = size / 7;
  for (const d of [-size, 0, size]) line(t, d - 1, size + 1, d + size + 1, -1);
  const pattern = c.createPattern(tile, 'repeat')!;
  pattern.setTransform(new DOMMatrix().scale(7 / size));
  return pattern;
}

/** Draws the scale of colours, and says what it means; returns its height. Zero has its place on it if it is within. */
export function key(c: CanvasRenderingContext2D, ink: Ink, left: number, width: number, top: number, low: number, high: number, unit: string, colour = scale, zero = NaN, over: CanvasPattern | null = null): number {
  const wide = Math.min(width, 300);
  for (let i = 0; i < wide; i++) {
    c.fillStyle = colour(i / (wide - 1));
    c.fillRect(left + i, top, 1.5, 8);
  }
  if (over) {
    c.fillStyle = over;
    c.fillRect(left, top, zero * wide, 8);
  }
  if (zero > 0 && zero < 1) {
    c.fillStyle = ink.ink;
    c.fillRect(left + zero * wide - 0.75, top - 3, 1.5, 14);
    c.font = font();
    c.textBaseline = 'alphabetic';
    c.textAlign = 'center';
    if (zero > 0.25 && zero < 0.75) c.fillText('0', left + zero * wide, top + 23);
  }
  c.font = font();
  c.fillStyle = ink.soft;
  c.textBaseline = 'alphabetic';
  c.textAlign = 'left';
  c.fillText(number(low), left, top + 23);
  c.textAlign = 'right';
  c.fillText(number(high), left + wide, top + 23);
  c.textAlign = 'left';
  c.fillText(unit, left, top + 41);
  return 48;
}

/** Ink that can be read on a colour of the scale. */
export const onScale = (heat: number) => (heat < 0.45 ? '#ffffff' : '#1c2430');

/** The colour of lines: the scale's, darker where it is light on light paper, lighter where it is dark on dark. */
export function lineColour(heat: number, dark: boolean): string {
  const colour = scale(heat), by = dark ? 0.3 * Math.max(0, 1 - heat / 0.5) : -0.28 * Math.max(0, (heat - 0.4) / 0.6);
  const mix = (c: number) => Math.round(by > 0 ? c + by * (255 - c) : c * (1 + by)).toString(16).padStart(2, '0');
  return '#' + [1, 3, 5].map((i) => mix(parseInt(colour.slice(i, i + 2), 16))).join('');
}

/** How the i-th of n lines is dashed: colours alone tell few lines apart. */
export const dashOf = (i: number, n: number): number[] => (n > 6 ? [[24, 0], [7, 5], [1, 5], [9, 5, 1, 5]][i % 4] : []);

/** A picture to save: caption and legend above what canvases show. */
export function poster(source: HTMLCanvasElement, caption: string, legend: { name: string; colour: string; dash?: number[] }[], ink: Ink): HTMLCanvasElement {
  const ratio = devicePixelRatio || 1, pad = 14, width = source.width / ratio + 2 * pad;
  const copy = document.createElement('canvas');
  const c = copy.getContext('2d')!;
  c.font = font(14, 600);
  const lines: string[] = [];
  for (const word of caption.split(' ')) {
    const longer = lines.length ? lines[lines.length - 1] + ' ' + word : word;
    if (lines.length && c.measureText(longer).width <= width - 2 * pad) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  c.font = font();
  const places: { x: number; y: number }[] = [];
  let x = pad, y = pad + 19 * lines.length + 14;
  for (const l of legend) {
    const wide = c.measureText(l.name).width + (l.dash?.length ? 48 : 32);
    if (x > pad && x + wide > width - pad) { x = pad; y += 18; }
    places.push({ x, y });
    x += wide;
  }
  const top = legend.length ? y + 12 : pad + 19 * lines.length + 4;
  copy.width = width * ratio;
  copy.height = (top + pad) * ratio + source.height;
  c.scale(ratio, ratio);
  c.fillStyle = ink.card;
  c.fillRect(0, 0, width, copy.height);
  c.fillStyle = ink.ink;
  c.font = font(14, 600);
  lines.forEach((text, i) => c.fillText(text, pad, pad + 13 + 19 * i));
  c.font = font();
  legend.forEach((l, i) => {
    c.fillStyle = c.strokeStyle = l.colour;
    if (l.dash?.length) {
      c.lineWidth = 2.4;
      c.lineCap = 'round';
      c.setLineDash(l.dash);
      line(c, places[i].x, places[i].y - 4, places[i].x + 24, places[i].y - 4);
    } else c.fillRect(places[i].x, places[i].y - 9, 10, 10);
    c.fillStyle = ink.soft;
    c.fillText(l.name, places[i].x + (l.dash?.length ? 31 : 15), places[i].y);
  });
  c.drawImage(source, pad, top, source.width / ratio, source.height / ratio);
  return copy;
}
