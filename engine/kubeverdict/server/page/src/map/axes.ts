// Where things are on the map: which places its rows and columns show, and how far it is zoomed.

import type { CellChange, Overview, Span } from "../api";
import { placeName } from "../places";

/** One axis: the places that it shows, in order. */
export interface Axis {
  places: Uint32Array;
  /** Runs of one namespace: where each begins on the axis, and its number. */
  bands: { start: number; stop: number; namespace: number }[];
}

export interface View {
  /** Pixels of a cell. */
  scale: number;
  /** What is at the upper left corner, in cells. */
  column: number;
  row: number;
}

export const LARGEST = 40;

export function axis(overview: Overview, namespaces: Uint32Array, kept: Uint8Array | null): Axis {
  const size = overview.workloads.length + 1;
  const places: number[] = [];
  for (let place = 0; place < size; place += 1) if (!kept || kept[place]) places.push(place);
  const bands: Axis["bands"] = [];
  places.forEach((place, index) => {
    const namespace = namespaces[place]!;
    const last = bands.at(-1);
    if (last?.namespace === namespace) last.stop = index + 1;
    else bands.push({ start: index, stop: index + 1, namespace });
  });
  return { places: Uint32Array.from(places), bands };
}

/** The places whose name has the words; null for all. */
export function matching(overview: Overview, words: string): Uint8Array | null {
  const wanted = words.trim().toLowerCase().split(/\s+/).filter(Boolean);
  if (!wanted.length) return null;
  const size = overview.workloads.length + 1;
  const kept = new Uint8Array(size);
  for (let place = 0; place < size; place += 1) {
    const name = placeName(overview, place).toLowerCase();
    if (wanted.some((word) => name.includes(word))) kept[place] = 1;
  }
  return kept;
}

/** The places on one side of changes. */
export function touched(size: number, cells: readonly CellChange[], side: 1 | 2): Uint8Array {
  const kept = new Uint8Array(size);
  for (const cell of cells) for (const [first, last] of cell[side]) kept.fill(1, first, last + 1);
  return kept;
}

export function both(one: Uint8Array | null, other: Uint8Array | null): Uint8Array | null {
  if (!one || !other) return one ?? other;
  return one.map((value, place) => value & other[place]!);
}

export function fitting(rows: Axis, columns: Axis, width: number, height: number): View {
  const scale = Math.min(
    width / Math.max(columns.places.length, 1),
    height / Math.max(rows.places.length, 1),
    LARGEST,
  );
  return { scale, column: 0, row: 0 };
}

/** Zoom so that what is at a point stays there. */
export function zoomed(view: View, factor: number, x: number, y: number, least: number): View {
  const scale = Math.min(Math.max(view.scale * factor, least), LARGEST);
  return {
    scale,
    column: view.column + x / view.scale - x / scale,
    row: view.row + y / view.scale - y / scale,
  };
}

export function held(view: View, rows: Axis, columns: Axis, width: number, height: number): View {
  const within = (at: number, cells: number, pixels: number) =>
    Math.min(Math.max(at, 0), Math.max(cells - pixels / view.scale, 0));
  return {
    scale: view.scale,
    column: within(view.column, columns.places.length, width),
    row: within(view.row, rows.places.length, height),
  };
}

/** Spans of places as runs on an axis: [start, stop) of each. */
export function runsOn(axis: Axis, spans: readonly Span[]): Span[] {
  const found: Span[] = [];
  for (const [first, last] of spans) {
    const start = lowerBound(axis.places, first);
    const stop = lowerBound(axis.places, last + 1);
    if (stop > start) found.push([start, stop]);
  }
  return found;
}

function lowerBound(sorted: Uint32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
