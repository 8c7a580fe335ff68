// Colours that the colour-blind tell apart (after Okabe and Ito), light and dark. What opens and
// what closes also has a sign of its own.

export interface Palette {
  paper: string;
  ink: string;
  faint: string;
  line: string;
  band: string;
  denied: string;
  conditional: string;
  byRule: string;
  unprotected: string;
  opened: string;
  closed: string;
  onOpened: string;
  onClosed: string;
  cursor: string;
}

const LIGHT: Palette = {
  paper: "#ffffff",
  ink: "#1b1f24",
  faint: "#57606a",
  line: "#c9d1d9",
  band: "#f0f3f6",
  denied: "#eceff2",
  conditional: "#b05fa0",
  byRule: "#2f7fb8",
  unprotected: "#e0a11b",
  opened: "#c8431b",
  closed: "#101418",
  onOpened: "#ffffff",
  onClosed: "#ffffff",
  cursor: "#101418",
};

const DARK: Palette = {
  paper: "#0f1419",
  ink: "#e6edf3",
  faint: "#9aa7b4",
  line: "#2c3742",
  band: "#171e26",
  denied: "#1c242d",
  conditional: "#cc79a7",
  byRule: "#3d8fc9",
  unprotected: "#e6b13c",
  opened: "#ff7a4d",
  closed: "#f4f7fa",
  onOpened: "#1b0d06",
  onClosed: "#0f1419",
  cursor: "#f4f7fa",
};

const dark = matchMedia("(prefers-color-scheme: dark)");

export function palette(): Palette {
  return dark.matches ? DARK : LIGHT;
}

export function onPalette(changed: () => void): void {
  dark.addEventListener("change", changed);
}

/** A colour as the bytes of a pixel, in the order in which a canvas has them. */
export function pixel(color: string): number {
  const number = parseInt(color.slice(1), 16);
  return (255 << 24) | ((number & 255) << 16) | (((number >> 8) & 255) << 8) | (number >> 16);
}

/** Between two colours: all of the first at 0. */
export function mixed(one: string, other: string, part: number): string {
  const [a, b] = [parseInt(one.slice(1), 16), parseInt(other.slice(1), 16)];
  let found = 0;
  for (const shift of [16, 8, 0]) {
    const from = (a >> shift) & 255;
    const to = (b >> shift) & 255;
    found |= Math.round(from + (to - from) * part) << shift;
  }
  return `#${found.toString(16).padStart(6, "0")}`;
}
