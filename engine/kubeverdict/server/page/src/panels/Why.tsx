// Why a connection is allowed or denied.

import { useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { effects } from "../draft";
import { asking, explain, explanation, overview, question, why } from "../state";
import { Full } from "./rules";

const MOST_OFFERED = 2000;
const MOST_NAMED = 3;

export function Why() {
  const found = explanation.value;
  const workloads = overview.value?.workloads ?? [];
  const shown = useRef(effects.peek());

  // What was asked is asked again when the draft does something else.
  useSignalEffect(() => {
    if (effects.value === shown.current) return;
    shown.current = effects.value;
    if (explanation.peek()) void explain();
  });

  const change = (field: "source" | "destination" | "port") => (event: Event) => {
    question.value = { ...question.value, [field]: (event.target as HTMLInputElement).value };
  };

  return (
    <section class="panel why" aria-label="Why">
      <form
        class="bar"
        onSubmit={(event) => {
          event.preventDefault();
          void explain();
        }}
      >
        <label>
          From
          <input
            list="workloads"
            value={question.value.source}
            placeholder="deployment/shop/web"
            onInput={change("source")}
          />
        </label>
        <label>
          To
          <input
            list="workloads"
            value={question.value.destination}
            placeholder="svc/data/db, 10.0.0.1"
            onInput={change("destination")}
          />
        </label>
        <label class="short">
          Port
          <input value={question.value.port} placeholder="5432/TCP" onInput={change("port")} />
        </label>
        <datalist id="workloads">
          {workloads.slice(0, MOST_OFFERED).map(([, reference]) => (
            <option key={reference} value={reference} />
          ))}
        </datalist>
        <button type="submit" class="main" disabled={asking.value}>
          Why?
        </button>
      </form>
      <div class="scroll" tabIndex={0} role="region" aria-label="Explanation">
        {why.value && <p class="wrong">{why.value}</p>}
        {!found && !why.value && (
          <p class="quiet">Click a cell of the map, or ask: why can one reach the other, or not?</p>
        )}
        {found && (
          <>
            {found.notes.map((note) => (
              <p class="quiet" key={note}>
                {note}
              </p>
            ))}
            {found.answers.map((answer, number) => (
              <div class="answer" key={number} data-testid="answer">
                <p>
                  <strong class={answer.allowed ? "allowed" : "denied"}>
                    {answer.condition ? "conditional" : answer.allowed ? "allowed" : "denied"}
                  </strong>{" "}
                  {named(answer.sources)} → {named(answer.destinations)} on {answer.protocol}
                  {answer.port ? ` ${answer.port}` : ""}
                  {answer.family ? ` over ${answer.family}` : ""}
                  {answer.service_port ? ` (through ${answer.service_port})` : ""}
                </p>
                <dl>
                  <dt class={answer.egress.allowed ? "" : "denied"}>egress</dt>
                  <dd>
                    <Full decision={answer.egress} />
                  </dd>
                  <dt class={answer.ingress.allowed ? "" : "denied"}>ingress</dt>
                  <dd>
                    <Full decision={answer.ingress} />
                  </dd>
                </dl>
              </div>
            ))}
          </>
        )}
      </div>
    </section>
  );
}

function named(names: string[]): string {
  const more = names.length - MOST_NAMED;
  return names.slice(0, MOST_NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
