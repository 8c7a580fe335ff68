// The page: map and explanation on the left, editor and effect on the right.

import "./page.css";
import { effect, signal } from "@preact/signals";
import { render } from "preact";
import { ask, openSession, type Overview } from "./api";
import { connect, connected, draft, effects, valid } from "./draft";
import { Map } from "./map/Map";
import { EffectPanel } from "./panels/Effect";
import { NeighboursPanel } from "./panels/Neighbours";
import { Policies } from "./panels/Policies";
import { broken, check, LintPanel, VerifyPanel } from "./panels/Questions";
import { TakePanel } from "./panels/Take";
import { Why } from "./panels/Why";
import { counted } from "./places";
import { openShared } from "./share";
import { failure, filterFrom, filterTo, onlyChanged, overview, said } from "./state";

const TABS = {
  effect: "Effect",
  take: "Take away",
  verify: "Assertions",
  lint: "Lint",
  neighbours: "Neighbours",
} as const;
const tab = signal<keyof typeof TABS>("effect");

const LEGEND = [
  ["by-rule", "allowed by rule"],
  ["unprotected", "unprotected: no policy selects either end"],
  ["conditional", "conditional"],
  ["denied", "denied"],
  ["opened", "+ opened"],
  ["closed", "− closed"],
] as const;

function Page() {
  const known = overview.value;
  return (
    <>
      <header>
        <h1>kubeverdict</h1>
        {known && (
          <p>
            {counted(known.pods, "pod")} · {counted(known.workloads.length, "workload")} ·{" "}
            {counted(known.policies.length, "policy").replace("policys", "policies")} · judged as{" "}
            {known.profile}
          </p>
        )}
        <div class="legend" role="list" aria-label="Colours of the map">
          {LEGEND.map(([name, title]) => (
            <span role="listitem" key={name}>
              <i class={`swatch ${name}`} aria-hidden="true" />
              {title}
            </span>
          ))}
        </div>
      </header>
      {!connected.value && <p class="alert">The server does not answer; trying again.</p>}
      {failure.value && (
        <p class="alert" role="alert">
          {failure.value}{" "}
          <button type="button" onClick={() => (failure.value = "")}>
            Close
          </button>
        </p>
      )}
      {known && (
        <main>
          <div class="side">
            <section class="panel" aria-label="Map">
              <div class="bar">
                <label>
                  From
                  <input
                    type="search"
                    placeholder="all: filter by name"
                    value={filterFrom.value}
                    onInput={(event) => (filterFrom.value = event.currentTarget.value)}
                  />
                </label>
                <label>
                  To
                  <input
                    type="search"
                    placeholder="all: filter by name"
                    value={filterTo.value}
                    onInput={(event) => (filterTo.value = event.currentTarget.value)}
                  />
                </label>
                <label class="tick">
                  <input
                    type="checkbox"
                    checked={onlyChanged.value}
                    onChange={(event) => (onlyChanged.value = event.currentTarget.checked)}
                  />
                  only changed
                </label>
              </div>
              <Map overview={known} />
            </section>
            <Why />
          </div>
          <div class="side">
            <Policies />
            <section class="panel" aria-label="Draft">
              <div class="tabs" role="tablist" aria-label="About the draft">
                {(Object.keys(TABS) as (keyof typeof TABS)[]).map((name) => (
                  <button
                    type="button"
                    role="tab"
                    key={name}
                    id={`tab-${name}`}
                    aria-controls="about"
                    aria-selected={tab.value === name}
                    onClick={() => (tab.value = name)}
                  >
                    {TABS[name]}
                    {name === "verify" && broken() > 0 && (
                      <span class="badge">{broken()} broken</span>
                    )}
                  </button>
                ))}
              </div>
              <div
                class="scroll"
                id="about"
                role="tabpanel"
                aria-labelledby={`tab-${tab.value}`}
                tabIndex={0}
              >
                {tab.value === "effect" && <EffectPanel />}
                {tab.value === "take" && <TakePanel />}
                {tab.value === "verify" && <VerifyPanel />}
                {tab.value === "lint" && <LintPanel />}
                {tab.value === "neighbours" && <NeighboursPanel />}
              </div>
            </section>
          </div>
        </main>
      )}
      <div class="hidden" role="status">
        {said.value}
      </div>
    </>
  );
}

async function start(): Promise<void> {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  const shared = fragment.get("draft");
  try {
    if (token) {
      await openSession(token);
      // It is of use once; it should not stay where it is seen or copied.
      history.replaceState(null, "", location.pathname);
    }
    overview.value = await ask<Overview>("api/overview");
    connect();
    if (shared) await openShared(shared);
  } catch (error) {
    failure.value = (error as Error).message;
  }
}

// Assertions are checked whatever is in front, so that the tab says what breaks.
effect(() => {
  void effects.value;
  if (overview.value?.assertions && (valid.value || !draft.value.length)) void check();
});

render(<Page />, document.getElementById("page")!);
void start();
