// What the page knows and shows. Everything that changes is a signal.

import { computed, signal } from "@preact/signals";
import { ask, type Explanation, type Overview, type RulePlace } from "./api";
import { draft, entryOf, openPolicy, type Place } from "./draft";
import { portsText } from "./places";
import type { CellAnswer } from "./api";

export const overview = signal<Overview | null>(null);
export const failure = signal("");
/** What assistive technology is told. */
export const said = signal("");

export const filterFrom = signal("");
export const filterTo = signal("");
export const onlyChanged = signal(false);

export interface Question {
  source: string;
  destination: string;
  port: string;
}

export const question = signal<Question>({ source: "", destination: "", port: "" });
export const explanation = signal<Explanation | null>(null);
export const why = signal("");
export const asking = signal(false);
/** The cell that was asked about, by the places of its ends. */
export const chosen = signal<[number, number] | null>(null);

/** Workloads by the name that questions have for them. */
export const placeOf = computed(() => {
  const found = new Map<string, number>();
  overview.value?.workloads.forEach(([, reference], place) => found.set(reference, place));
  return found;
});

/** An address to ask about in the place of all of them: of a block kept for documentation. */
const SOMEWHERE = "198.51.100.1";

export function reference(place: number): string {
  return overview.value?.workloads[place]?.[1] ?? SOMEWHERE;
}

export async function askCell(source: number, destination: number): Promise<CellAnswer> {
  return ask<CellAnswer>("api/map/cell", { source, destination, draft: draft.value });
}

/** Ask why a cell is as it is, on the port that is most likely meant. */
export async function explainCell(source: number, destination: number): Promise<void> {
  chosen.value = [source, destination];
  const known = await askCell(source, destination);
  const declared = known.ask.find((one) => !/metric|health|probe/.test(one.name)) ?? known.ask[0];
  const open = known.ports.map((one) => firstPort(portsText(one.ports))).find(Boolean);
  question.value = {
    source: reference(source),
    destination: reference(destination),
    port: declared?.port ?? open ?? "80/TCP",
  };
  await explain();
}

function firstPort(text: string): string {
  const found = /(TCP|UDP|SCTP) (\d+)/.exec(text);
  return found ? `${found[2]}/${found[1]}` : "";
}

let asked = 0;

export async function explain(): Promise<void> {
  const own = ++asked;
  asking.value = true;
  try {
    const found = await ask<Explanation>("api/explain", {
      ...question.value,
      draft: draft.value,
    });
    if (own !== asked) return;
    explanation.value = found;
    why.value = "";
    said.value = `${found.source} to ${found.destination}, ${found.port}: ${
      found.allowed ? "allowed" : "denied"
    }`;
  } catch (error) {
    if (own !== asked) return;
    explanation.value = null;
    why.value = (error as Error).message;
  } finally {
    if (own === asked) asking.value = false;
  }
}

/** Open the policy of a rule in the editor, at its line. */
export async function openRule(rule: {
  kind: string;
  policy: string;
  file: string;
  line: number;
  field?: string;
}): Promise<void> {
  const edited = entryOf(rule.file);
  const place: Place = edited
    ? { line: rule.line }
    : { field: rule.field ?? "", fileLine: rule.line };
  await openPolicy(edited ? edited.name : `${rule.kind}/${rule.policy}`, place);
}

export type Linked = RulePlace;
