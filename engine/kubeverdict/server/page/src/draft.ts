// The draft: policies that are edited, new, or taken away; and what the server says of it.

import { batch, computed, effect, signal } from "@preact/signals";
import {
  ask,
  type CellChange,
  type Change,
  type DraftEntry,
  type PolicyText,
  type Problem,
  type Selected,
  type Stage,
} from "./api";

export interface Entry {
  /** What messages call its text: the key of its policy, or a name of its own. */
  name: string;
  /** The key of the policy that it replaces; empty for a new one. */
  replaces: string;
  original: string;
  text: string;
  deleted: boolean;
  lines: Record<string, number>;
  /** What it selects as it is in the cluster. */
  selected: Selected[];
  file: string;
  fileLine: number;
}

export interface Place {
  line?: number;
  field?: string;
  fileLine?: number;
}

export interface Effect {
  totals: { families: number[]; opened: number; closed: number }[];
  number: number;
  changes: Change[];
  cells: CellChange[];
}

export const entries = signal<readonly Entry[]>([]);
export const current = signal("");
/** Where the editor is to go; counted, so that going there twice is two changes. */
export const goTo = signal<{ line: number; count: number }>({ line: 0, count: 0 });

export const problems = signal<readonly Problem[]>([]);
export const selected = signal<readonly Selected[]>([]);
export const effects = signal<Effect | null>(null);
export const valid = signal(true);
/** Whether what is shown is of an earlier draft. */
export const behind = signal(false);
export const connected = signal(true);
/** The number of the draft that is shown. */
export const answered = signal(0);

export const changedEntries = computed(() =>
  entries.value.filter((one) => one.deleted || one.text !== one.original),
);

export const draft = computed<DraftEntry[]>(() =>
  changedEntries.value.map((one) => ({
    name: one.name,
    replaces: one.replaces,
    // A lone half of a character is none, and no server takes it.
    text: one.deleted ? null : one.text.toWellFormed(),
  })),
);

export function entryOf(name: string): Entry | undefined {
  return entries.value.find((one) => one.name === name);
}

function put(entry: Entry): void {
  const known = entries.value.some((one) => one.name === entry.name);
  entries.value = known
    ? entries.value.map((one) => (one.name === entry.name ? entry : one))
    : [...entries.value, entry];
}

export function type(name: string, text: string): void {
  const entry = entryOf(name);
  if (entry && entry.text !== text) put({ ...entry, text, deleted: false });
}

export function remove(name: string): void {
  const entry = entryOf(name);
  if (!entry) return;
  if (entry.replaces) put({ ...entry, deleted: true });
  else drop(name);
}

/** Have a policy as it was. */
export function revert(name: string): void {
  const entry = entryOf(name);
  if (!entry) return;
  if (entry.replaces) put({ ...entry, text: entry.original, deleted: false });
  else drop(name);
}

function drop(name: string): void {
  batch(() => {
    entries.value = entries.value.filter((one) => one.name !== name);
    if (current.value === name) current.value = entries.value.at(-1)?.name ?? "";
  });
}

export async function openPolicy(key: string, place: Place = {}): Promise<void> {
  if (!entryOf(key)) {
    const found = await ask<PolicyText>(`api/policy?key=${encodeURIComponent(key)}`);
    if (!entryOf(key)) {
      put({
        name: key,
        replaces: key,
        original: found.text,
        text: found.text,
        deleted: false,
        lines: found.lines,
        selected: found.selected,
        file: found.file,
        fileLine: found.line,
      });
    }
  }
  batch(() => {
    current.value = key;
    const line = lineIn(entryOf(key), place);
    if (line) goTo.value = { line, count: goTo.value.count + 1 };
  });
}

function lineIn(entry: Entry | undefined, place: Place): number {
  if (!entry) return 0;
  if (place.line) return place.line;
  if (place.field) {
    const path = Object.keys(entry.lines)
      .filter((one) => place.field === one || place.field!.startsWith(one))
      .sort((one, other) => other.length - one.length)[0];
    if (path) return entry.lines[path]!;
  }
  return 1;
}

export function addNew(text: string, name = ""): void {
  let number = 1;
  while (entryOf(`new-${number}`)) number += 1;
  const own = name && !entryOf(name) ? name : `new-${number}`;
  batch(() => {
    put({
      name: own,
      replaces: "",
      original: "",
      text,
      deleted: false,
      lines: {},
      selected: [],
      file: "",
      fileLine: 0,
    });
    current.value = own;
    goTo.value = { line: 1, count: goTo.value.count + 1 };
  });
}

// --- the socket ----------------------------------------------------------------------------

let socket: WebSocket | null = null;
let sent = 0;

export function connect(): void {
  const address = new URL("api/draft", location.href);
  address.protocol = "ws:";
  address.hash = "";
  const opened = new WebSocket(address);
  socket = opened;
  opened.onopen = () => {
    connected.value = true;
    send();
  };
  opened.onmessage = (event) => take(JSON.parse(String(event.data)) as Stage);
  opened.onclose = () => {
    connected.value = false;
    setTimeout(connect, 1000);
  };
}

effect(() => {
  void draft.value;
  send();
});

function send(): void {
  if (draft.peek().length === 0) {
    sent += 1; // what is under way is of no use any more
    batch(() => {
      problems.value = [];
      selected.value = [];
      effects.value = null;
      valid.value = true;
      behind.value = false;
    });
    return;
  }
  behind.value = true;
  if (socket?.readyState !== WebSocket.OPEN) return;
  sent += 1;
  socket.send(JSON.stringify({ id: sent, draft: draft.peek() }));
}

function take(stage: Stage): void {
  if (stage.id !== sent) return;
  batch(() => {
    switch (stage.stage) {
      case "read":
        problems.value = stage.problems;
        valid.value = stage.valid;
        break;
      case "selected":
        selected.value = stage.policies;
        break;
      case "changed":
        effects.value = stage;
        behind.value = false;
        answered.value = stage.id;
        break;
      case "failed":
        problems.value = [
          { entry: "", line: 0, field: "", message: stage.error, severity: "error" },
        ];
        valid.value = false;
    }
  });
}
