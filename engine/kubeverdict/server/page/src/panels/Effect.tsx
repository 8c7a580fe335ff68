// What the draft opens and closes against the cluster as it is.

import type { VNode } from "preact";
import type { Change } from "../api";
import { answered, behind, changedEntries, effects, problems, valid, type Effect } from "../draft";
import { counted, portsText, spansText } from "../places";
import { chosen, explainCell, failure, overview } from "../state";
import { Responsible } from "./rules";

export function EffectPanel() {
  const found = effects.value;
  if (!changedEntries.value.length)
    return <p class="quiet">Nothing is edited. What an edit opens and closes is listed here.</p>;
  const errors = problems.value.filter((one) => one.severity === "error");
  const total = (side: "opened" | "closed") =>
    Math.max(0, ...(found?.totals.map((one) => one[side]) ?? []));
  return (
    <div
      class={behind.value ? "behind" : ""}
      data-testid="effect"
      data-answer={answered.value}
      aria-busy={behind.value}
    >
      {!valid.value && (
        <p class="wrong">
          {counted(errors.length, "error")}: {errors[0]?.message}
        </p>
      )}
      {found && (
        <p class="sum" data-testid="sum">
          <span class="opens">+ opens</span> ports between {counted(total("opened"), "pod pair")},{" "}
          <span class="closes">− closes</span> ports between {counted(total("closed"), "pod pair")}
        </p>
      )}
      {found && !found.number && <p class="quiet">This draft changes no connection.</p>}
      {found && listed(found)}
    </div>
  );
}

// A key makes what is shown stale before it replaces it. What is listed stays as it is till then:
// of a broad edit it names tens of thousands of workloads.
const drawn = new WeakMap<Effect, VNode>();

function listed(found: Effect): VNode {
  const known = drawn.get(found);
  if (known) return known;
  const made = (
    <div>
      <List title="Opened" changes={found.changes.filter((one) => one.opens)} />
      <List title="Closed" changes={found.changes.filter((one) => !one.opens)} />
      {found.number > found.changes.length && (
        <p class="quiet">
          The largest {found.changes.length} of {found.number.toLocaleString("en")} are listed; the
          map shows all.
        </p>
      )}
    </div>
  );
  drawn.set(found, made);
  return made;
}

function List({ title, changes }: { title: string; changes: Change[] }) {
  const known = overview.value;
  if (!changes.length || !known) return null;
  return (
    <>
      <h3>{title}</h3>
      <ul class="changes">
        {changes.map((one, number) => (
          <li key={number} class={one.opens ? "opened" : "closed"}>
            <button
              type="button"
              class="row"
              title="Why?"
              onClick={() => {
                const [source, destination] = [one.sources[0]?.[0], one.destinations[0]?.[0]];
                if (source === undefined || destination === undefined) return;
                chosen.value = [source, destination];
                explainCell(source, destination).catch(
                  (error: Error) => (failure.value = error.message),
                );
              }}
            >
              <span class="sign" aria-hidden="true">
                {one.opens ? "+" : "−"}
              </span>
              {spansText(known, one.sources, one.outside)} →{" "}
              {spansText(known, one.destinations, one.outside)}
            </button>
            <div class="about">
              {portsText(one.ports)}
              {one.pairs ? ` · ${counted(one.pairs, "pod pair")}` : ""}
              {one.family ? ` · ${one.family}` : ""}
              {one.bound ? ` · of what is allowed at ${one.bound}` : ""}
              {" · "}
              <Responsible verdict={one.after} other={one.before} />
            </div>
          </li>
        ))}
      </ul>
    </>
  );
}
