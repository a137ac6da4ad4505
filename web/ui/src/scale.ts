// kelvin's temperature scale, from cold to hot, at equal distances: package
// report makes it, and a test of package web compares the two.
const colours = [
  '#335fb3', '#3a60b2', '#4161b1', '#4762b0', '#4c62af', '#5263af', '#5764ae', '#5c65ad',
  '#6166ac', '#6566ab', '#6a67aa', '#6f68a9', '#7369a8', '#776aa7', '#7c6ba6', '#806ca5',
  '#846da4', '#886da3', '#8c6ea2', '#906fa1', '#9470a0', '#98719f', '#9c729e', '#9f749d',
  '#a3759b', '#a7769a', '#aa7799', '#ae7898', '#b17996', '#b57b95', '#b87c94', '#bc7d92',
  '#bf7f91', '#c2808f', '#c5828e', '#c8838c', '#cb858b', '#ce8789', '#d18888', '#d48a86',
  '#d78c84', '#da8e82', '#dc9081', '#df917f', '#e1937d', '#e4957b', '#e69779', '#e89977',
  '#ea9b75', '#ed9e73', '#efa070', '#f0a26e', '#f2a46c', '#f4a669', '#f6a967', '#f8ab64',
  '#f9ad61', '#fbb05e', '#fcb25b', '#fdb458', '#ffb755', '#ffb952', '#ffbb4e', '#ffbe4a',
  '#ffc046',
];

/** The colour of x on the scale, from 0 (cold) to 1 (hot). */
export function scale(x: number): string {
  if (!Number.isFinite(x)) return 'var(--line)';
  return colours[Math.round(Math.min(1, Math.max(0, x)) * (colours.length - 1))];
}

/** The colour of a temperature below zero, whose size is x on the scale: grey, as light as the scale is there. */
export function below(x: number): string {
  const linear = (0.5 + 0.35 * Math.min(1, Math.max(0, x))) ** 3; // of OKLab
  return '#' + Math.round(255 * (1.055 * linear ** (1 / 2.4) - 0.055)).toString(16).repeat(3);
}
