/** Colours for what is drawn on canvases, as the style sheet has them. */
export interface Ink { ink: string; soft: string; line: string; card: string; accent: string; warn: string }

const dark = matchMedia('(prefers-color-scheme: dark)');
// What depends on the look reads it: it changes with the colours of the system,
// and on paper everything is light.
let turn = $state({ dark: dark.matches, count: 0 });
const again = () => { turn = { dark: dark.matches, count: turn.count + 1 }; };
dark.addEventListener('change', again);
addEventListener('beforeprint', again);
addEventListener('afterprint', again);

export function look(): Ink & { dark: boolean } {
  void turn.count;
  const css = getComputedStyle(document.documentElement);
  const get = (name: string) => css.getPropertyValue(name).trim();
  return { ink: get('--ink'), soft: get('--soft'), line: get('--line'), card: get('--card'), accent: get('--accent'), warn: get('--warn'), dark: turn.dark };
}

/** The layer, parameter or other thing that a finding is about and pictures point out. */
export const picked = $state<{ group: string | null }>({ group: null });

/** The line that the pointer is at, in all the plots that have one of its name. */
export const followed = $state({ name: '' });

/** Whether a row or a mark is of what is picked. */
export function isPicked(...names: (string | undefined)[]): boolean {
  const g = picked.group;
  return g !== null && names.some((n) => n === g || n === 'layer ' + g);
}

/** Goes to a part of the page, there to the first picture or table of what is picked. */
export async function goTo(id: string) {
  await new Promise(requestAnimationFrame); // what is drawn is there, and the browser has done with the link
  const part = document.getElementById(id);
  if (!part) return;
  const has = [...part.querySelectorAll<HTMLElement>('[data-groups]')].find((e) => isPicked(...(JSON.parse(e.dataset.groups!) as string[])));
  const place = has ?? part.querySelector<HTMLElement>('figure') ?? part;
  // Of a tall map, the row.
  const row = place.clientHeight > innerHeight ? place.querySelector('.outline') : null;
  (row ?? has ?? part).scrollIntoView({ block: row || has ? 'center' : 'start' });
  place.focus({ preventScroll: true });
}
