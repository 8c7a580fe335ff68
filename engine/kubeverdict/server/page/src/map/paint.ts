// Draws the map. Small cells are pixels of one image; large ones are squares with gaps.

import type { CellChange, Overview, Span } from "../api";
import { cut, placeName } from "../places";
import { runsOn, type Axis, type View } from "./axes";
import { BY_RULE, CONDITIONAL, DENIED, UNKNOWN, UNPROTECTED, type Cells } from "./cells";
import { mixed, pixel, type Palette } from "./palette";

export interface Scene {
  overview: Overview;
  namespaces: Uint32Array;
  cells: Cells;
  rows: Axis;
  columns: Axis;
  view: View;
  changes: readonly CellChange[];
  /** The cell under the pointer or the keyboard, on the axes; and the one that was asked about. */
  cursor: [number, number] | null;
  chosen: [number, number] | null;
  left: number;
  top: number;
  width: number;
  height: number;
}

/** From here on cells are squares, and workloads have names. */
const SQUARES = 6;
const NAMES = 11;
/** Below this a cell is less than a pixel, and namespaces are shown. */
export const WORKLOADS = 1;
const LEAST_MARK = 3;
const MOST_MARKS = 40_000;

export function paint(canvas: HTMLCanvasElement, scene: Scene, colors: Palette): void {
  const context = canvas.getContext("2d")!;
  const ratio = canvas.width / canvas.clientWidth;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = colors.paper;
  context.fillRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  const { left, top, width, height, view, rows, columns } = scene;
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.translate(left, top);
  if (view.scale >= SQUARES) squares(context, scene, colors);
  else image(context, scene, colors, ratio);
  borders(context, scene, colors);
  marks(context, scene, colors);
  for (const [cell, wide] of [
    [scene.chosen, 2],
    [scene.cursor, 1.5],
  ] as const) {
    if (cell) outline(context, scene, cell, colors.cursor, wide);
  }
  context.restore();
  labels(context, scene, colors, rows, false);
  labels(context, scene, colors, columns, true);
}

function colorsOf(colors: Palette): string[] {
  const found: string[] = [];
  found[DENIED] = colors.denied;
  found[CONDITIONAL] = colors.conditional;
  found[BY_RULE] = colors.byRule;
  found[UNPROTECTED] = colors.unprotected;
  return found;
}

function squares(context: CanvasRenderingContext2D, scene: Scene, colors: Palette): void {
  const { view, rows, columns, cells, width, height } = scene;
  const of = colorsOf(colors);
  const size = view.scale - 1;
  const lastRow = Math.min(Math.ceil(view.row + height / view.scale), rows.places.length);
  const lastColumn = Math.min(Math.ceil(view.column + width / view.scale), columns.places.length);
  for (let row = Math.floor(view.row); row < lastRow; row += 1) {
    const source = rows.places[row]!;
    const y = (row - view.row) * view.scale;
    for (let column = Math.floor(view.column); column < lastColumn; column += 1) {
      const state = cells.state(source, columns.places[column]!);
      if (state === UNKNOWN) continue;
      context.fillStyle = of[state]!;
      context.fillRect((column - view.column) * view.scale, y, size, size);
    }
  }
}

function image(
  context: CanvasRenderingContext2D,
  scene: Scene,
  colors: Palette,
  ratio: number,
): void {
  const { view, rows, columns, cells, namespaces } = scene;
  const scale = view.scale * ratio;
  const width = Math.min(
    Math.floor(scene.width * ratio),
    Math.ceil((columns.places.length - view.column) * scale),
  );
  const height = Math.min(
    Math.floor(scene.height * ratio),
    Math.ceil((rows.places.length - view.row) * scale),
  );
  if (width <= 0 || height <= 0) return;
  const drawn = new ImageData(width, height);
  const pixels = new Uint32Array(drawn.data.buffer);
  const of = colorsOf(colors).map(pixel);
  const mixes = new Map<number, number>();
  const across = new Uint32Array(width);
  for (let x = 0; x < width; x += 1) {
    across[x] = columns.places[Math.min(Math.floor(view.column + x / scale), columns.places.length - 1)]!;
  }
  const single = view.scale >= WORKLOADS;
  let before = -1;
  for (let y = 0; y < height; y += 1) {
    const source = rows.places[Math.min(Math.floor(view.row + y / scale), rows.places.length - 1)]!;
    const from = namespaces[source]!;
    const key = single ? source : from;
    if (key === before) {
      pixels.copyWithin(y * width, (y - 1) * width, y * width);
      continue;
    }
    before = key;
    for (let x = 0; x < width; x += 1) {
      const destination = across[x]!;
      const state = single ? cells.state(source, destination) : UNKNOWN;
      if (state !== UNKNOWN) {
        pixels[y * width + x] = of[state]!;
        continue;
      }
      const pair = from * 65536 + namespaces[destination]!;
      let color = mixes.get(pair);
      if (color === undefined) {
        color = pixel(between(cells, from, namespaces[destination]!, colors));
        mixes.set(pair, color);
      }
      pixels[y * width + x] = color;
    }
  }
  const stage = new OffscreenCanvas(width, height);
  stage.getContext("2d")!.putImageData(drawn, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(stage, 0, 0, width / ratio, height / ratio);
}

/** The colour of a pair of namespaces: what is most of what is open, as strong as much is. */
function between(cells: Cells, source: number, destination: number, colors: Palette): string {
  const [byRule, unprotected, conditional, possible] = cells.between(source, destination);
  const open = byRule + unprotected + conditional;
  if (!open) return colors.denied;
  const most = Math.max(byRule, unprotected, conditional);
  const color =
    most === unprotected ? colors.unprotected : most === byRule ? colors.byRule : colors.conditional;
  return mixed(colors.denied, color, 0.3 + 0.7 * Math.sqrt(open / possible));
}

function borders(context: CanvasRenderingContext2D, scene: Scene, colors: Palette): void {
  const { view, rows, columns } = scene;
  if (Math.min(rows.bands.length, columns.bands.length) > 400 && view.scale < 0.6) return;
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  const right = Math.min((columns.places.length - view.column) * view.scale, scene.width);
  const bottom = Math.min((rows.places.length - view.row) * view.scale, scene.height);
  context.beginPath();
  for (const { stop } of columns.bands) {
    const x = Math.round((stop - view.column) * view.scale) - 0.5;
    if (x < 0 || x > scene.width) continue;
    context.moveTo(x, 0);
    context.lineTo(x, bottom);
  }
  for (const { stop } of rows.bands) {
    const y = Math.round((stop - view.row) * view.scale) - 0.5;
    if (y < 0 || y > scene.height) continue;
    context.moveTo(0, y);
    context.lineTo(right, y);
  }
  context.stroke();
}

/** What a draft opens and closes, at least a few pixels large so that it is seen. */
function marks(context: CanvasRenderingContext2D, scene: Scene, colors: Palette): void {
  const { view, rows, columns } = scene;
  let left = MOST_MARKS;
  for (const [opens, sources, destinations] of scene.changes) {
    const down = visible(runsOn(rows, sources), view.row, view.scale, scene.height);
    const across = visible(runsOn(columns, destinations), view.column, view.scale, scene.width);
    context.fillStyle = opens ? colors.opened : colors.closed;
    for (const [y, tall] of down) {
      for (const [x, wide] of across) {
        if ((left -= 1) < 0) return;
        if (view.scale < SQUARES) context.fillRect(x, y, wide, tall);
        else signs(context, scene, [x, y, wide, tall], opens, colors);
      }
    }
  }
}

/** Runs on an axis as pixels: where each begins, and how long it is. Those that touch the one
 * before are one with it. */
function visible(runs: Span[], from: number, scale: number, pixels: number): Span[] {
  const found: Span[] = [];
  for (const [start, stop] of runs) {
    const at = (start - from) * scale;
    const length = Math.max((stop - start) * scale, LEAST_MARK);
    if (at + length < 0 || at > pixels) continue;
    const last = found.at(-1);
    if (last && scale < SQUARES && last[0] + last[1] >= at) last[1] = at + length - last[0];
    else found.push([at, length]);
  }
  return found;
}

function signs(
  context: CanvasRenderingContext2D,
  scene: Scene,
  [x, y, wide, tall]: [number, number, number, number],
  opens: boolean,
  colors: Palette,
): void {
  const size = scene.view.scale;
  for (let down = y; down < y + tall - 0.5; down += size) {
    if (down + size < 0 || down > scene.height) continue;
    for (let across = x; across < x + wide - 0.5; across += size) {
      if (across + size < 0 || across > scene.width) continue;
      context.fillStyle = opens ? colors.opened : colors.closed;
      context.fillRect(across, down, size - 1, size - 1);
      if (size < 8) continue;
      context.strokeStyle = opens ? colors.onOpened : colors.onClosed;
      context.lineWidth = Math.max(1.5, size / 12);
      const middle = (size - 1) / 2;
      const arm = size / 4;
      context.beginPath();
      context.moveTo(across + middle - arm, down + middle);
      context.lineTo(across + middle + arm, down + middle);
      if (opens) {
        context.moveTo(across + middle, down + middle - arm);
        context.lineTo(across + middle, down + middle + arm);
      }
      context.stroke();
    }
  }
}

function outline(
  context: CanvasRenderingContext2D,
  scene: Scene,
  [row, column]: [number, number],
  color: string,
  wide: number,
): void {
  const { scale } = scene.view;
  const size = Math.max(scale, 5);
  const x = (column - scene.view.column) * scale - (size - scale) / 2;
  const y = (row - scene.view.row) * scale - (size - scale) / 2;
  context.strokeStyle = color;
  context.lineWidth = wide;
  context.strokeRect(x - 1, y - 1, size + 1, size + 1);
}

function labels(
  context: CanvasRenderingContext2D,
  scene: Scene,
  colors: Palette,
  axis: Axis,
  across: boolean,
): void {
  const { view, overview, left, top } = scene;
  const from = across ? view.column : view.row;
  const pixels = across ? scene.width : scene.height;
  const room = across ? top : left;
  const named = view.scale >= NAMES;
  context.save();
  context.beginPath();
  if (across) context.rect(left, 0, scene.width, top);
  else context.rect(0, top, left, scene.height);
  context.clip();
  context.textBaseline = "middle";
  const band = named ? 16 : room;
  let free = -Infinity;
  // The widest first would be fairer; in order, neighbours do not jump while one zooms.
  for (const { start, stop, namespace } of axis.bands) {
    const low = Math.max((start - from) * view.scale, 0);
    const high = Math.min((stop - from) * view.scale, pixels);
    if (high <= 0 || low >= pixels) continue;
    const name = overview.namespaces[namespace]!.name || "outside";
    const middle = (low + high) / 2;
    context.font = `600 ${named ? 11 : 11}px system-ui, sans-serif`;
    context.fillStyle = colors.ink;
    if (named) {
      context.fillStyle = colors.band;
      const wide = high - low - 1;
      if (across) context.fillRect(left + low, 0, wide, band);
      else context.fillRect(0, top + low, band, wide);
      context.fillStyle = colors.ink;
      along(context, name, across ? [left + middle, band / 2] : [band / 2, top + middle], wide - 4, !across);
      continue;
    }
    if (middle - free < 13 || (high - low < 5 && middle - free < 30)) continue;
    free = middle;
    if (across) slanted(context, name, left + middle, top - 6, room);
    else {
      context.textAlign = "right";
      context.fillText(cut(name, 22), left - 6, top + middle);
    }
  }
  if (named) {
    context.font = `${Math.min(12, view.scale)}px system-ui, sans-serif`;
    const first = Math.floor(from);
    const last = Math.min(Math.ceil(from + pixels / view.scale), axis.places.length);
    for (let index = first; index < last; index += 1) {
      const place = axis.places[index]!;
      const at = (index + 0.5 - from) * view.scale;
      const own = across ? scene.cursor?.[1] : scene.cursor?.[0];
      context.fillStyle = own === index ? colors.ink : colors.faint;
      const name = short(placeName(overview, place));
      if (across) slanted(context, name, left + at, top - 6, room - band);
      else {
        context.textAlign = "right";
        context.fillText(cut(name, 24), left - 6, top + at);
      }
    }
  }
  context.restore();
}

function short(name: string): string {
  return name.replace(/^[^/]*\//, "").replace(/\[[^\]]*\]$/, "");
}

function slanted(
  context: CanvasRenderingContext2D,
  text: string,
  x: number,
  y: number,
  room: number,
): void {
  context.save();
  context.translate(x, y);
  context.rotate(-Math.PI / 2.6);
  context.textAlign = "left";
  context.fillText(cut(text, Math.floor(room / 5.6)), 0, 0);
  context.restore();
}

function along(
  context: CanvasRenderingContext2D,
  text: string,
  [x, y]: [number, number],
  room: number,
  upwards: boolean,
): void {
  if (room < 14) return;
  context.save();
  context.translate(x, y);
  if (upwards) context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(cut(text, Math.max(Math.floor(room / 6.5), 1)), 0, 0.5);
  context.restore();
}
