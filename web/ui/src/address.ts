import { count } from './format';

/** Puts state into the address of the page, without a step in the history. */
export function remember(changes: Record<string, string | null>) {
  const [place, query] = location.hash.split('?');
  const now = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === '') now.delete(name);
    else now.set(name, value);
  }
  const text = now.toString();
  history.replaceState(null, '', (place || '#/') + (text ? '?' + text : ''));
}

export const runAddress = (id: string, state: Record<string, string | number | null> = {}) => {
  const list = Object.entries(state).filter(([, v]) => v !== null && v !== '').map(([k, v]) => `${k}=${encodeURIComponent(v!)}`);
  return `#/run/${encodeURIComponent(id)}` + (list.length ? '?' + list.join('&') : '');
};

/** The names in the path of an address; null where a % in it escapes nothing. */
export function namesIn(path: string): string[] | null {
  try {
    return path.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    return null;
  }
}

export type Stretch = [from: number, to: number];

/** The steps from and to that an address names; null unless they are whole numbers, and the first is not after the last. */
export function stretch(from: string | null, to: string | null): Stretch | null {
  const [a, b] = [from, to].map((text) => (/^-?\d+$/.test(text ?? '') ? Number(text) : NaN));
  return Number.isSafeInteger(a) && Number.isSafeInteger(b) && a <= b ? [a, b] : null;
}

/** The stretch of steps that a page is asked to show, null for all of them; wrong says what is wrong with the question. */
export function asked(query: URLSearchParams): { range: Stretch | null; wrong: string } {
  const from = query.get('from'), to = query.get('to'), range = stretch(from, to);
  const wrong = range || (from === null && to === null) ? '' : `Expected from and to in the address as whole numbers of steps, the first not after the last; they are “${from ?? ''}” and “${to ?? ''}”. These are all steps.`;
  return { range, wrong };
}

/** What is wrong with a stretch that has no step of a run from first to last. */
export const outside = (range: Stretch | null, first: number, last: number) =>
  (range && (range[0] > last || range[1] < first) ? `The address asks for steps ${count(range[0])} to ${count(range[1])}; there are ${count(first)} to ${count(last)}. These are all steps.` : '');
