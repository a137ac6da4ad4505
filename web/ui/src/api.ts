import type { ChartDocument, FindingDocument, PageDocument, TableDocument } from './page';

export interface Run { id: string; state: 'running' | 'finished' | 'stopped'; step: number; time: number; loss: number | null; diverged: boolean; temperature: number | null; temperature_stderr: number | null; temperature_reason: string }
export interface RunList { root: string; runs: Run[]; warning: string }
export interface Quantity { name: string; label: string; unit: string; system: boolean; layers: string[] }
export interface Event { step: number; time: number; kind: string; layer: string; text: string }
export interface Finding extends FindingDocument { id: string; from: number; step: number; quantity: string }
export interface RunDocument {
  run: Run; model: unknown; first: number; last: number; quantities: Quantity[];
  parameters: Record<string, number>; events: Event[]; findings: Finding[]; checkpoints: number[]; warning: string;
  now: { from: number; step: number; energy: Reading; temperature: Reading; kinetic: Reading; zeroth_law: string };
}
type Values = (number | null)[];
export interface Curve { first: number[]; last: number[]; mean: Values; stderr: Values; min: Values; max: Values; points: number[]; not_finite: number[] }
export interface Layers { layers: string[]; curves: Curve[] }
export interface Reading { value: number | null; stderr: number | null; unit: string; valid: boolean; reason: string }
export interface Transition { first: number; last: number; kind: string; driven: string; p: number; latent_heat: Reading; changes: { name: string; layer: string; before: Reading; after: Reading; kind: string; p: number }[] }
export interface Transitions { transitions: Transition[]; looked_at: number; last: number | null; reason: string }
export interface Matrix { name: string; spectral_norm: Reading; stable_rank: Reading; entropy: Reading; alpha: Reading }
export interface Spectra { step: number; text: string; matrices: Matrix[]; charts: ChartDocument[]; table: TableDocument }
export interface Spending { figures: { label: string; value: string; unit?: string; note?: string }[]; charts: ChartDocument[]; reason: string }

/** What a report has inside instead of a server: a page, or a run and documents by their path. */
const embedded = (() => {
  const element = document.getElementById('kelvin-data');
  return element ? (JSON.parse(element.textContent!) as { page?: PageDocument; run?: string; command?: string; documents?: Record<string, unknown> }) : null;
})();

/** The run that this page is a report of, or null. */
export const reportOf = embedded?.run ?? null;
/** The command that made this report, or empty. */
export const command = embedded?.command ?? '';
/** The page that this is a report of, or null. */
export const page = embedded?.page ?? null;

export class Failure extends Error {
  constructor(message: string, readonly status: number) { super(message); }
}

export function path(name: string, query: Record<string, string | number | undefined> = {}): string {
  const list = Object.entries(query).filter(([, v]) => v !== undefined && v !== '').map(([k, v]) => `${k}=${encodeURIComponent(v!)}`);
  return `api/${name}` + (list.length ? '?' + list.join('&') : '');
}

/** Calls f one round at a time: what is asked for during one is done once after it. */
export function rounds(f: () => Promise<void>): () => Promise<void> {
  let busy = false, again = false;
  return async () => {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) { again = false; await f(); }
    } finally {
      busy = false;
    }
  };
}

/** Whether a report has a document inside. */
export const has = (from: string) => !embedded || from in (embedded.documents ?? {});

/** Asks the server for a document. While it reads the records of a run it asks again. */
export async function get<T>(from: string, signal?: AbortSignal, waiting?: () => void): Promise<T> {
  if (embedded) {
    if (embedded.documents && from in embedded.documents) return embedded.documents[from] as T;
    throw new Failure('this is not part of the report', 404);
  }
  for (;;) {
    let answer: Response;
    try {
      answer = await fetch(from, { signal });
    } catch (cause) {
      if (signal?.aborted) throw cause;
      throw new Failure('the server does not answer', 0);
    }
    if (answer.ok) return answer.json();
    const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
    if (answer.status !== 503) throw new Failure(problem.detail ?? answer.statusText, answer.status);
    waiting?.();
    await new Promise((resolve) => setTimeout(resolve, 500));
    if (signal?.aborted) throw new DOMException('', 'AbortError');
  }
}

/** What keeps a page from the server: it does not answer, or it wants a token that this browser does not have. */
export type Trouble = 'gone' | 'token' | null;

/**
 * Calls changed with the runs that changed (null: any may have), and troubled with what keeps the page from the server, null when nothing does any more.
 * Only a page that is looked at listens: a browser has six connections to a server, and those of other tabs would use them up.
 */
export function listen(changed: (runs: string[] | null) => void, troubled: (by: Trouble) => void): () => void {
  if (embedded) return () => {};
  let source: EventSource | null = null, missed = false, again: ReturnType<typeof setTimeout> | undefined;
  function open() {
    if (source) return;
    source = new EventSource('api/changes');
    source.addEventListener('hello', () => { troubled(null); if (missed) changed(null); missed = false; });
    source.addEventListener('runs', (e) => changed(JSON.parse((e as MessageEvent).data).runs ?? null));
    source.onerror = async () => {
      missed = true;
      if (source?.readyState !== EventSource.CLOSED) { troubled('gone'); return; } // the browser tries again by itself
      // An answer that is no stream of events ended it; which, it does not tell.
      const ended = source, status = await fetch('api/runs', { method: 'HEAD' }).then((answer) => answer.status, () => 0);
      if (source !== ended) return;
      troubled(status === 401 ? 'token' : 'gone');
      source = null;
      again = setTimeout(open, 3000);
    };
  }
  function close() {
    clearTimeout(again);
    source?.close();
    source = null;
    missed = true;
  }
  const turn = (e?: globalThis.Event) => (document.hidden || e?.type === 'pagehide' ? close() : open());
  const events = [[document, 'visibilitychange'], [window, 'pagehide'], [window, 'pageshow']] as const;
  for (const [on, name] of events) on.addEventListener(name, turn);
  turn();
  return () => { for (const [on, name] of events) on.removeEventListener(name, turn); close(); };
}
