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

/** Whether a row or a mark is of what is picked. */
export function isPicked(...names: (string | undefined)[]): boolean {
  const g = picked.group;
  return g !== null && names.some((n) => n === g || n === 'layer ' + g);
}

/** Points something out, and goes to the first picture or table that has it. */
export function pick(group: string) {
  picked.group = group;
  requestAnimationFrame(() => {
    const place = [...document.querySelectorAll<HTMLElement>('[data-groups]')].find((e) => (JSON.parse(e.dataset.groups!) as string[]).some((n) => n === group || n === 'layer ' + group));
    place?.scrollIntoView({ block: 'center' });
    place?.focus({ preventScroll: true });
  });
}
