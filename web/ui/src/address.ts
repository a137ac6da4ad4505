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
