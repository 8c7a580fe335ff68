// The map: who reaches whom, and what the draft changes of it.

import { effect, useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { CellAnswer, Overview } from "../api";
import { effects } from "../draft";
import { counted, namespacesOf, placeName, portsText } from "../places";
import {
  askCell,
  chosen,
  explainCell,
  failure,
  filterFrom,
  filterTo,
  onlyChanged,
  said,
} from "../state";
import { axis, both, fitting, held, matching, touched, zoomed, type View } from "./axes";
import { BY_RULE, Cells, CONDITIONAL, DENIED, UNKNOWN, UNPROTECTED } from "./cells";
import { paint, WORKLOADS, type Scene } from "./paint";
import { onPalette, palette } from "./palette";

const WORDS: Record<number, string> = {
  [DENIED]: "denied",
  [CONDITIONAL]: "allowed under a condition",
  [BY_RULE]: "allowed by rule",
  [UNPROTECTED]: "allowed, no policy isolates either end",
};
const LEFT = 150;
const TOP = 104;
const HELP =
  "Rows are sources, columns destinations. Arrow keys move, Enter explains, plus and minus zoom, 0 shows all.";

export function Map({ overview }: { overview: Overview }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const cells = useSignal<Cells | null>(null);
  const tick = useSignal(0);
  const size = useSignal({ width: 0, height: 0 });
  const view = useSignal<View | null>(null);
  const cursor = useSignal<[number, number] | null>(null);
  const tip = useSignal<{ x: number; y: number; lines: string[] } | null>(null);
  const namespaces = namespacesOf(overview);

  const axes = useComputed(() => {
    const changes = onlyChanged.value ? (effects.value?.cells ?? []) : null;
    const places = overview.workloads.length + 1;
    const side = (words: string, which: 1 | 2) =>
      axis(
        overview,
        namespaces,
        both(matching(overview, words), changes && touched(places, changes, which)),
      );
    return { rows: side(filterFrom.value, 1), columns: side(filterTo.value, 2) };
  });

  const inner = () => ({
    width: Math.max(size.value.width - LEFT - 2, 1),
    height: Math.max(size.value.height - TOP - 2, 1),
  });
  const fit = () => {
    const { width, height } = inner();
    view.value = fitting(axes.value.rows, axes.value.columns, width, height);
  };
  const least = () => {
    const { width, height } = inner();
    return fitting(axes.value.rows, axes.value.columns, width, height).scale;
  };
  const move = (changed: View) => {
    const { width, height } = inner();
    view.value = held(changed, axes.value.rows, axes.value.columns, width, height);
  };

  useEffect(() => {
    Cells.load(overview, () => (tick.value += 1))
      .then((found) => (cells.value = found))
      .catch((error: Error) => (failure.value = error.message));
    const target = canvas.current!;
    const observer = new ResizeObserver(() => {
      const ratio = window.devicePixelRatio || 1;
      target.width = Math.round(target.clientWidth * ratio);
      target.height = Math.round(target.clientHeight * ratio);
      size.value = { width: target.clientWidth, height: target.clientHeight };
    });
    observer.observe(target);
    onPalette(() => (tick.value += 1));
    return () => observer.disconnect();
  }, []);

  // What was not known of the cell in sight has come.
  useSignalEffect(() => {
    void tick.value;
    const cell = cursor.peek();
    const shown = tip.peek();
    if (!cell || !shown || !cells.peek()) return;
    const lines = words(cell);
    if (lines[0] === shown.lines[0]) return;
    point(cell, shown.x, shown.y);
    said.value = lines.join(": ");
  });

  // Other places or another size: all of it is shown again.
  useSignalEffect(() => {
    if (size.value.width && axes.value) fit();
  });

  useEffect(() => {
    let frame = 0;
    const stop = effect(() => {
      void tick.value;
      const shown = cells.value;
      const where = view.value;
      const { rows, columns } = axes.value;
      const scene: Omit<Scene, "cells" | "view"> = {
        overview,
        namespaces,
        rows,
        columns,
        changes: effects.value?.cells ?? [],
        cursor: cursor.value,
        chosen: onAxes(chosen.value),
        left: LEFT,
        top: TOP,
        ...inner(),
      };
      if (!shown || !where) return;
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => {
        if (!canvas.current) return;
        paint(canvas.current, { ...scene, cells: shown, view: where }, palette());
      });
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, []);

  function onAxes(pair: [number, number] | null): [number, number] | null {
    if (!pair) return null;
    const row = axes.value.rows.places.indexOf(pair[0]);
    const column = axes.value.columns.places.indexOf(pair[1]);
    return row < 0 || column < 0 ? null : [row, column];
  }

  function cellAt(event: MouseEvent): [number, number] | null {
    const where = view.value;
    if (!where) return null;
    const box = canvas.current!.getBoundingClientRect();
    const row = Math.floor(where.row + (event.clientY - box.top - TOP) / where.scale);
    const column = Math.floor(where.column + (event.clientX - box.left - LEFT) / where.scale);
    const inside =
      event.clientX - box.left >= LEFT &&
      event.clientY - box.top >= TOP &&
      row < axes.value.rows.places.length &&
      column < axes.value.columns.places.length;
    return inside ? [row, column] : null;
  }

  function words([row, column]: [number, number]): string[] {
    const source = axes.value.rows.places[row]!;
    const destination = axes.value.columns.places[column]!;
    const scale = view.value?.scale ?? 0;
    const state = scale >= WORKLOADS ? (cells.value?.state(source, destination) ?? UNKNOWN) : UNKNOWN;
    if (state === UNKNOWN) {
      const [from, to] = [namespaces[source]!, namespaces[destination]!];
      const [byRule, free, conditional, possible] = cells.value!.between(from, to);
      const name = (number: number) => overview.namespaces[number]!.name || "addresses outside";
      return [
        `namespace ${name(from)} → ${name(to)}`,
        `${byRule + free + conditional} of ${counted(possible, "pair")} of workloads connect` +
          (free ? `, ${free} unprotected` : "") +
          (conditional ? `, ${conditional} under a condition` : ""),
      ];
    }
    const mark = changeOf(source, destination);
    return [
      `${placeName(overview, source)} → ${placeName(overview, destination)}`,
      WORDS[state]! + (mark ? `; the draft ${mark}` : ""),
    ];
  }

  function changeOf(source: number, destination: number): string {
    const inside = (spans: [number, number][], place: number) =>
      spans.some(([first, last]) => first <= place && place <= last);
    const found = new Set(
      (effects.value?.cells ?? [])
        .filter(([, from, to]) => inside(from, source) && inside(to, destination))
        .map(([opens]) => (opens ? "opens ports" : "closes ports")),
    );
    return [...found].join(" and ");
  }

  const known = useRef(new globalThis.Map<string, CellAnswer>());
  const waiting = useRef(0);

  function point(cell: [number, number] | null, x: number, y: number): void {
    cursor.value = cell;
    clearTimeout(waiting.current);
    if (!cell || !cells.value) {
      tip.value = null;
      return;
    }
    const lines = words(cell);
    tip.value = { x, y, lines };
    if ((view.value?.scale ?? 0) < WORKLOADS) return;
    const source = axes.value.rows.places[cell[0]]!;
    const destination = axes.value.columns.places[cell[1]]!;
    waiting.current = window.setTimeout(async () => {
      const key = `${source} ${destination} ${effects.value ? performance.now() : ""}`;
      try {
        const found = known.current.get(key) ?? (await askCell(source, destination));
        known.current.set(key, found);
        if (tip.value?.lines !== lines) return;
        const ports = found.ports.map(
          (one) => `${one.family ? `${one.family}: ` : ""}${portsText(one.ports) || "no port"}`,
        );
        tip.value = { ...tip.value, lines: [...lines, ...ports] };
      } catch {
        // The draft is not valid at the moment: what is known is shown already.
      }
    }, 120);
  }

  async function choose(cell: [number, number], x: number, y: number): Promise<void> {
    if (!cells.value) return;
    if ((view.value?.scale ?? 0) < 3 && overview.workloads.length > 100) {
      move(zoomed(view.value!, 4, x - LEFT, y - TOP, least()));
      return;
    }
    try {
      await explainCell(axes.value.rows.places[cell[0]]!, axes.value.columns.places[cell[1]]!);
    } catch (error) {
      failure.value = (error as Error).message;
    }
  }

  const drag = useRef<{ x: number; y: number; view: View; moved: boolean } | null>(null);

  function onPointerMove(event: PointerEvent): void {
    const box = canvas.current!.getBoundingClientRect();
    const from = drag.current;
    if (from && view.value) {
      const [x, y] = [event.clientX - from.x, event.clientY - from.y];
      if (Math.abs(x) + Math.abs(y) > 4) from.moved = true;
      if (from.moved) {
        tip.value = null;
        move({
          ...from.view,
          column: from.view.column - x / from.view.scale,
          row: from.view.row - y / from.view.scale,
        });
        return;
      }
    }
    point(cellAt(event), event.clientX - box.left, event.clientY - box.top);
  }

  function onWheel(event: WheelEvent): void {
    event.preventDefault();
    if (!view.value) return;
    const box = canvas.current!.getBoundingClientRect();
    const factor = Math.exp(-event.deltaY / 300);
    move(
      zoomed(view.value, factor, event.clientX - box.left - LEFT, event.clientY - box.top - TOP, least()),
    );
  }

  useEffect(() => {
    // Not by JSX: a listener that keeps the page from scrolling may not be passive.
    const target = canvas.current!;
    target.addEventListener("wheel", onWheel, { passive: false });
    return () => target.removeEventListener("wheel", onWheel);
  }, []);

  function onKeyDown(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || !view.value || !cells.value) return;
    const { rows, columns } = axes.value;
    const [row, column] = cursor.value ?? onAxes(chosen.value) ?? [0, 0];
    const step = event.shiftKey ? 10 : 1;
    const moves: Record<string, [number, number]> = {
      ArrowUp: [-step, 0],
      ArrowDown: [step, 0],
      ArrowLeft: [0, -step],
      ArrowRight: [0, step],
    };
    const by = moves[event.key];
    const middle = () => [(column - view.value!.column + 0.5) * view.value!.scale, (row - view.value!.row + 0.5) * view.value!.scale] as const;
    if (by) {
      const next: [number, number] = [
        Math.min(Math.max(row + by[0], 0), rows.places.length - 1),
        Math.min(Math.max(column + by[1], 0), columns.places.length - 1),
      ];
      follow(next);
      const [x, y] = [
        LEFT + (next[1] - view.value.column + 1) * view.value.scale,
        TOP + (next[0] - view.value.row + 1) * view.value.scale,
      ];
      point(next, x, y);
      said.value = words(next).join(": ");
    } else if (event.key === "Enter" || event.key === " ") {
      const [x, y] = middle();
      void choose([row, column], x + LEFT, y + TOP);
    } else if (event.key === "+" || event.key === "=") {
      move(zoomed(view.value, 1.5, ...middle(), least()));
    } else if (event.key === "-") {
      move(zoomed(view.value, 1 / 1.5, ...middle(), least()));
    } else if (event.key === "0") {
      fit();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Keep a cell in sight. */
  function follow([row, column]: [number, number]): void {
    const where = view.value!;
    const { width, height } = inner();
    const [down, across] = [height / where.scale, width / where.scale];
    move({
      scale: where.scale,
      row: Math.min(Math.max(where.row, row + 1 - down), row),
      column: Math.min(Math.max(where.column, column + 1 - across), column),
    });
  }

  const zoom = (factor: number) => {
    const { width, height } = inner();
    if (view.value) move(zoomed(view.value, factor, width / 2, height / 2, least()));
  };

  return (
    <div class="map">
      <canvas
        ref={canvas}
        tabIndex={0}
        role="application"
        aria-label="Map of connections between workloads"
        aria-describedby="map-help"
        data-testid="map"
        data-ready={cells.value ? "yes" : "no"}
        onPointerDown={(event) => {
          if (view.value) {
            drag.current = { x: event.clientX, y: event.clientY, view: view.value, moved: false };
            canvas.current!.setPointerCapture(event.pointerId);
          }
        }}
        onPointerMove={onPointerMove}
        onPointerUp={(event) => {
          const from = drag.current;
          drag.current = null;
          const cell = cellAt(event);
          const box = canvas.current!.getBoundingClientRect();
          if (from && !from.moved && cell)
            void choose(cell, event.clientX - box.left, event.clientY - box.top);
        }}
        onPointerLeave={() => point(null, 0, 0)}
        onKeyDown={onKeyDown}
      />
      <p id="map-help" class="hidden">
        {HELP}
      </p>
      <div class="map-corner" aria-hidden="true">
        from ↓ &nbsp; to →
      </div>
      <div class="zoom">
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick={() => zoom(1.6)}>
          +
        </button>
        <button type="button" aria-label="Zoom out" title="Zoom out (-)" onClick={() => zoom(1 / 1.6)}>
          −
        </button>
        <button type="button" aria-label="Show all" title="Show all (0)" onClick={fit}>
          ⤢
        </button>
      </div>
      {tip.value && (
        <div
          class="tip"
          style={{
            left: `${Math.min(tip.value.x + 14, size.value.width - 330)}px`,
            top: `${Math.min(tip.value.y + 14, size.value.height - 78)}px`,
          }}
        >
          {tip.value.lines.map((line, number) => (
            <div key={number}>{line}</div>
          ))}
        </div>
      )}
    </div>
  );
}
