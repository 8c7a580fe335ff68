// One workload, with who reaches it on the left and whom it reaches on the right.

import { signal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { bytes, type CellChange } from "../api";
import { effects } from "../draft";
import { BY_RULE, CONDITIONAL, DENIED, UNPROTECTED } from "../map/cells";
import { palette, type Palette } from "../map/palette";
import { counted, cut, placeName } from "../places";
import { chosen, explainCell, failure, overview, placeOf, reference } from "../state";

interface Neighbour {
  place: number;
  state: number;
  opens: boolean;
  closes: boolean;
}

interface Around {
  place: number;
  into: Neighbour[];
  out: Neighbour[];
}

const wanted = signal("");
const around = signal<Around | null>(null);

const MOST = 24;
const LINE = 22;
const WIDTH = 760;
const TEXT = 34;

let looked = 0;

async function look(place: number, cells: readonly CellChange[]): Promise<void> {
  const own = ++looked;
  const size = overview.value!.workloads.length + 1;
  const one = `${place}-${place + 1}`;
  const [into, out] = await Promise.all([
    bytes(`api/map/cells?sources=0-${size}&destinations=${one}`),
    bytes(`api/map/cells?sources=${one}&destinations=0-${size}`),
  ]);
  if (own !== looked) return;
  around.value = {
    place,
    into: neighbours(new Uint8Array(into), place, cells, 2, 1),
    out: neighbours(new Uint8Array(out), place, cells, 1, 2),
  };
}

/** Those that are open now, or that the draft changes; changed ones first. */
function neighbours(
  states: Uint8Array,
  place: number,
  cells: readonly CellChange[],
  own: 1 | 2,
  other: 1 | 2,
): Neighbour[] {
  const changed = new Map<number, { opens: boolean; closes: boolean }>();
  for (const cell of cells) {
    if (!cell[own].some(([first, last]) => first <= place && place <= last)) continue;
    for (const [first, last] of cell[other])
      for (let at = first; at <= last; at += 1) {
        const known = changed.get(at) ?? { opens: false, closes: false };
        known[cell[0] ? "opens" : "closes"] = true;
        changed.set(at, known);
      }
  }
  const found: Neighbour[] = [];
  states.forEach((state, at) => {
    const change = changed.get(at);
    if ((state !== DENIED || change) && at !== place)
      found.push({ place: at, state, ...(change ?? { opens: false, closes: false }) });
  });
  return found.sort(
    (a, b) => Number(b.opens || b.closes) - Number(a.opens || a.closes) || a.place - b.place,
  );
}

function color(one: Neighbour, colors: Palette): string {
  if (one.opens) return colors.opened;
  if (one.closes) return colors.closed;
  if (one.state === UNPROTECTED) return colors.unprotected;
  if (one.state === CONDITIONAL) return colors.conditional;
  return one.state === BY_RULE ? colors.byRule : colors.faint;
}

export function NeighboursPanel() {
  const drawing = useRef<SVGSVGElement>(null);
  const known = overview.value!;

  // The destination of the question is what one mostly wants to know about.
  useSignalEffect(() => {
    const pair = chosen.value;
    if (pair && pair[1] < known.workloads.length) wanted.value = reference(pair[1]);
  });
  useSignalEffect(() => {
    const place = placeOf.value.get(wanted.value);
    const cells = effects.value?.cells ?? [];
    if (place === undefined) return;
    look(place, cells).catch((error: Error) => (failure.value = error.message));
  });

  function save(): void {
    const content = new XMLSerializer().serializeToString(drawing.current!);
    const address = URL.createObjectURL(new Blob([content], { type: "image/svg+xml" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = "neighbours.svg";
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  const found = around.value;
  return (
    <div>
      <div class="bar wrap">
        <label>
          Workload
          <input
            list="workloads"
            value={wanted.value}
            placeholder="deployment/shop/web"
            onInput={(event) => (wanted.value = event.currentTarget.value)}
          />
        </label>
        <button type="button" disabled={!found} onClick={save}>
          Save SVG
        </button>
      </div>
      {found ? (
        <Drawing found={found} drawing={drawing} />
      ) : (
        <p class="quiet">Click a cell of the map, or name a workload.</p>
      )}
    </div>
  );
}

function Drawing({
  found,
  drawing,
}: {
  found: Around;
  drawing: { current: SVGSVGElement | null };
}) {
  const known = overview.value!;
  const colors = palette();
  const sides = [found.into, found.out] as const;
  const lines = Math.max(...sides.map((one) => Math.min(one.length, MOST) + 1), 2);
  const height = (lines + 1) * LINE;
  const middle = height / 2;
  const name = placeName(known, found.place);
  return (
    <svg
      ref={drawing}
      xmlns="http://www.w3.org/2000/svg"
      viewBox={`0 0 ${WIDTH} ${height}`}
      width="100%"
      font-family="system-ui, sans-serif"
      font-size="11"
      role="group"
      aria-label={`Neighbours of ${name}`}
      data-testid="neighbours"
    >
      <rect width={WIDTH} height={height} fill={colors.paper} />
      {sides.map((side, out) => {
        const x = out ? WIDTH - 250 : 250;
        const words = out
          ? `reaches ${counted(side.length, "neighbour")}`
          : `reached by ${counted(side.length, "neighbour")}`;
        return (
          <g key={out} text-anchor={out ? "start" : "end"}>
            <text x={x} y={LINE - 6} fill={colors.faint} font-weight="600">
              {words}
              {side.length > MOST ? `, of which ${MOST} are shown` : ""}
            </text>
            {side.slice(0, MOST).map((one, index) => {
              const y = (index + 1.5) * LINE;
              const from = out ? [WIDTH / 2 + 105, middle] : [x + 6, y];
              const to = out ? [x - 6, y] : [WIDTH / 2 - 105, middle];
              const bend = (from[0]! + to[0]!) / 2;
              const sign = one.opens ? "+ " : one.closes ? "− " : "";
              const pair: [number, number] = out
                ? [found.place, one.place]
                : [one.place, found.place];
              return (
                <g key={one.place}>
                  <path
                    d={`M${from[0]} ${from[1]}C${bend} ${from[1]} ${bend} ${to[1]} ${to[0]} ${to[1]}`}
                    fill="none"
                    stroke={color(one, colors)}
                    stroke-width={one.opens || one.closes ? 2.5 : 1.5}
                    stroke-dasharray={one.closes ? "5 3" : "none"}
                  />
                  <text
                    x={x}
                    y={y + 4}
                    fill={colors.ink}
                    class="pick"
                    onClick={() => {
                      explainCell(...pair).catch(
                        (error: Error) => (failure.value = error.message),
                      );
                    }}
                  >
                    {sign}
                    {cut(placeName(known, one.place), TEXT)}
                  </text>
                </g>
              );
            })}
          </g>
        );
      })}
      <rect
        x={WIDTH / 2 - 105}
        y={middle - 15}
        width={210}
        height={30}
        rx={5}
        fill={colors.band}
        stroke={colors.line}
      />
      <text x={WIDTH / 2} y={middle + 4} text-anchor="middle" fill={colors.ink} font-weight="600">
        {cut(name, TEXT)}
      </text>
    </svg>
  );
}
