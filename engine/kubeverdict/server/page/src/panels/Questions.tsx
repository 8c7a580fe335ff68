// Lint, and assertions that must hold, of the cluster with the draft.

import { signal, useSignalEffect } from "@preact/signals";
import { ask, type Asserted, type Finding } from "../api";
import { draft, effects, entryOf, openPolicy, valid } from "../draft";
import { counted } from "../places";
import { failure, overview } from "../state";

const findings = signal<Finding[] | null>(null);
const known = signal<Set<string> | null>(null);
const linting = signal(false);

const identity = (one: Finding) => `${one.id} ${one.objects.join()} ${one.message}`;

async function lint(): Promise<void> {
  if (linting.value) return;
  linting.value = true;
  try {
    known.value ??= new Set(
      (await ask<{ findings: Finding[] }>("api/lint", { draft: [] })).findings.map(identity),
    );
    findings.value = (
      await ask<{ findings: Finding[] }>("api/lint", { draft: draft.peek() })
    ).findings;
  } catch (error) {
    failure.value = (error as Error).message;
  } finally {
    linting.value = false;
  }
}

export function LintPanel() {
  useSignalEffect(() => {
    void effects.value;
    if (valid.value) void lint();
  });
  const found = findings.value;
  if (!found) return <p class="quiet">{linting.value ? "Looking…" : "Nothing was looked at."}</p>;
  const fresh = (one: Finding) => !known.value?.has(identity(one));
  const ordered = [...found].sort((one, other) => Number(fresh(other)) - Number(fresh(one)));
  return (
    <div aria-busy={linting.value}>
      <p class="sum">
        {counted(found.length, "finding")}, {found.filter(fresh).length} by this draft
      </p>
      <ul class="changes">
        {ordered.slice(0, 300).map((one, number) => (
          <li key={number}>
            <button type="button" class="row" onClick={() => void openObject(one)}>
              <span class={`severity ${one.severity}`}>{one.severity}</span>
              {fresh(one) && <span class="fresh">new</span>} {one.id}: {one.message}
            </button>
            <div class="about">
              {one.objects.join(", ")}
              {one.file ? ` · ${one.file}${one.line ? `:${one.line}` : ""}` : ""}
              {one.fix ? ` · ${one.fix}` : ""}
            </div>
          </li>
        ))}
      </ul>
    </div>
  );
}

async function openObject(finding: Finding): Promise<void> {
  const edited = entryOf(finding.file ?? "");
  const key = finding.objects[0]?.replace(" ", "/") ?? "";
  try {
    if (edited) await openPolicy(edited.name, { line: finding.line ?? 1 });
    else if (overview.value?.policies.some((one) => one.key === key)) await openPolicy(key);
  } catch (error) {
    failure.value = (error as Error).message;
  }
}

const text = signal<string | null>(null);
const results = signal<Asserted[] | null>(null);
const wrong = signal("");
let asked = 0;

export async function check(): Promise<void> {
  const own = ++asked;
  const assertions = text.value ?? overview.value?.assertions ?? "";
  if (!assertions.trim()) {
    results.value = null;
    return;
  }
  try {
    const found = await ask<{ assertions: Asserted[] }>("api/verify", {
      assertions,
      draft: draft.peek(),
    });
    if (own === asked) {
      results.value = found.assertions;
      wrong.value = "";
    }
  } catch (error) {
    if (own === asked) wrong.value = (error as Error).message;
  }
}

/** How many assertions do not hold; for the tab. */
export function broken(): number {
  return results.value?.filter((one) => one.status !== "holds").length ?? 0;
}

export function VerifyPanel() {
  const assertions = text.value ?? overview.value?.assertions ?? "";
  return (
    <div>
      <ul class="changes" data-testid="assertions">
        {(results.value ?? []).map((one) => (
          <li key={one.name} class={one.status}>
            <div class="row">
              <span class={`severity ${one.status === "holds" ? "note" : "error"}`}>
                {one.status}
              </span>{" "}
              {one.name}
            </div>
            {one.status !== "holds" && one.description && <div class="about">{one.description}</div>}
          </li>
        ))}
      </ul>
      {wrong.value && <p class="wrong">{wrong.value}</p>}
      <label class="tall">
        Assertions
        <textarea
          rows={10}
          spellcheck={false}
          value={assertions}
          placeholder={"assertions:\n  - name: …\n    allow: {from: shop/checkout, to: data/orders-db}\n    ports: [5432]"}
          onInput={(event) => {
            text.value = event.currentTarget.value;
            void check();
          }}
        />
      </label>
    </div>
  );
}
