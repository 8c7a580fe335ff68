// The states of cells: those of namespaces, which come first, and tiles of those of workloads.

import { bytes, type Overview } from "../api";

export const DENIED = 0;
export const CONDITIONAL = 1;
export const BY_RULE = 2;
export const UNPROTECTED = 3;
/** Of a cell that is not known yet. */
export const UNKNOWN = 255;

const TILE = 256;
const MOST_TILES = 600;

export class Cells {
  readonly size: number;
  private readonly namespaces: number;
  private readonly counts: Uint32Array;
  private readonly tiles = new Map<number, Uint8Array>();
  private readonly asked = new Set<number>();

  private constructor(
    overview: Overview,
    counts: ArrayBuffer,
    private readonly came: () => void,
  ) {
    this.size = overview.workloads.length + 1;
    this.namespaces = overview.namespaces.length;
    this.counts = new Uint32Array(counts);
  }

  static async load(overview: Overview, came: () => void): Promise<Cells> {
    return new Cells(overview, await bytes("api/map/counts"), came);
  }

  /** How many cells between two namespaces are by rule, unprotected, conditional; and of how many. */
  between(source: number, destination: number): [number, number, number, number] {
    const whole = this.namespaces * this.namespaces;
    const at = source * this.namespaces + destination;
    const of = (which: number) => this.counts[which * whole + at]!;
    return [of(0), of(1), of(2), of(3)];
  }

  /** The state of a cell of two places; its tile is asked for where it is not here. */
  state(source: number, destination: number): number {
    const across = Math.ceil(this.size / TILE);
    const tile = Math.floor(source / TILE) * across + Math.floor(destination / TILE);
    const found = this.tiles.get(tile);
    if (!found) {
      this.ask(tile);
      return UNKNOWN;
    }
    const column = Math.floor(destination / TILE) * TILE;
    const width = Math.min(TILE, this.size - column);
    return found[(source % TILE) * width + (destination - column)]!;
  }

  private ask(tile: number): void {
    if (this.asked.has(tile) || this.asked.size >= 8) return;
    this.asked.add(tile);
    const across = Math.ceil(this.size / TILE);
    const span = (number: number) =>
      `${number * TILE}-${Math.min((number + 1) * TILE, this.size)}`;
    const rows = span(Math.floor(tile / across));
    const columns = span(tile % across);
    bytes(`api/map/cells?sources=${rows}&destinations=${columns}`)
      .then((content) => {
        if (this.tiles.size >= MOST_TILES) {
          this.tiles.delete(this.tiles.keys().next().value!);
        }
        this.tiles.set(tile, new Uint8Array(content));
        this.asked.delete(tile);
        this.came();
      })
      .catch(() => setTimeout(() => this.asked.delete(tile), 2000));
  }
}
