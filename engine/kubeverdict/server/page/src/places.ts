// Places on the map as names, and the other way round.

import type { Overview, Ports, Span } from "./api";

export const ADDRESSES = "addresses outside";

export function portsText(ports: Ports): string {
  if (ports === "all") return "all connections";
  return Object.entries(ports)
    .map(([protocol, text]) => `${protocol} ${text}`)
    .join(", ");
}

export function placeName(overview: Overview, place: number): string {
  return overview.workloads[place]?.[0] ?? ADDRESSES;
}

/** The namespace of each place, by its number. */
export function namespacesOf(overview: Overview): Uint32Array {
  const found = new Uint32Array(overview.workloads.length + 1);
  overview.namespaces.forEach(({ first }, number) => {
    const stop = overview.namespaces[number + 1]?.first ?? found.length;
    found.fill(number, first, stop);
  });
  return found;
}

const NAMED = 4;

/** Some places in words: workloads by namespace, whole namespaces as such. */
export function spansText(overview: Overview, spans: Span[], outside: string): string {
  const parts: string[] = [];
  const namespaces = overview.namespaces;
  const size = overview.workloads.length;
  const inside: number[][] = namespaces.map(() => []);
  let namespace = 0;
  let addresses = false;
  for (const [first, last] of spans) {
    for (let place = first; place <= last; place += 1) {
      if (place >= size) {
        addresses = true;
        continue;
      }
      while ((namespaces[namespace + 1]?.first ?? Infinity) <= place) namespace += 1;
      inside[namespace]!.push(place);
    }
  }
  const found = inside
    .map((places, number) => ({ places, number }))
    .filter((one) => one.places.length);
  for (const { places, number } of found.slice(0, NAMED)) {
    const { name, first } = namespaces[number]!;
    const all = (namespaces[number + 1]?.first ?? size) - first;
    const names = places.slice(0, NAMED).map((place) => shortName(overview, place, name));
    const more = places.length - names.length;
    if (places.length === all && all > 1) parts.push(`all ${all} workloads of ${name}`);
    else parts.push(`${name}/${names.join(", ")}${more > 0 ? ` and ${more} more` : ""}`);
  }
  const left = found.slice(NAMED);
  if (left.length) {
    const workloads = left.reduce((sum, one) => sum + one.places.length, 0);
    parts.push(`${workloads} workloads of ${left.length} more namespaces`);
  }
  if (addresses) parts.push(cut(outside || ADDRESSES, 120));
  return parts.join("; ");
}

function shortName(overview: Overview, place: number, namespace: string): string {
  const name = placeName(overview, place);
  const own = name.startsWith(`${namespace}/`) ? name.slice(namespace.length + 1) : name;
  return own.replace(/\[[^\]]*\]$/, "");
}

export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

export function counted(number: number, word: string): string {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}
