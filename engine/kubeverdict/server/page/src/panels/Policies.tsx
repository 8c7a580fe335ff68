// Which policy is edited: those that are open, all others, and templates.

import { useSignal } from "@preact/signals";
import {
  addNew,
  changedEntries,
  current,
  entries,
  entryOf,
  openPolicy,
  problems,
  remove,
  revert,
} from "../draft";
import { Editor } from "../editor/Editor";
import { failure, overview } from "../state";
import { TEMPLATES } from "../templates";

const MOST_OFFERED = 300;

export function Policies() {
  const wanted = useSignal("");
  const known = overview.value?.policies ?? [];
  const offered = known.filter((one) => one.key.toLowerCase().includes(wanted.value.toLowerCase()));
  const entry = entryOf(current.value);
  const edited = new Set(changedEntries.value.map((one) => one.name));

  async function open(key: string): Promise<void> {
    if (!known.some((one) => one.key === key)) return;
    try {
      await openPolicy(key);
      wanted.value = "";
    } catch (error) {
      failure.value = (error as Error).message;
    }
  }

  function begin(title: string): void {
    const template = TEMPLATES.find((one) => one.title === title);
    const namespace =
      known.find((one) => one.key === current.value)?.namespace ||
      overview.value?.namespaces[0]?.name ||
      "default";
    if (template) addNew(template.text(namespace));
  }

  return (
    <section class="panel policies" aria-label="Policies">
      <div class="bar">
        <input
          type="search"
          list="policies"
          aria-label="Open a policy"
          placeholder={`Open one of ${known.length.toLocaleString("en")} policies…`}
          value={wanted.value}
          onInput={(event) => {
            wanted.value = event.currentTarget.value;
            void open(event.currentTarget.value);
          }}
        />
        <datalist id="policies">
          {offered.slice(0, MOST_OFFERED).map((one) => (
            <option key={one.key} value={one.key} />
          ))}
        </datalist>
        <select
          aria-label="New policy from a template"
          value=""
          onChange={(event) => {
            begin(event.currentTarget.value);
            event.currentTarget.value = "";
          }}
        >
          <option value="">New policy…</option>
          {TEMPLATES.map((one) => (
            <option key={one.title}>{one.title}</option>
          ))}
        </select>
      </div>
      {entries.value.length > 0 && (
        <div class="tabs" role="group" aria-label="Open policies">
          {entries.value.map((one) => (
            <button
              type="button"
              key={one.name}
              aria-pressed={one.name === current.value}
              class={one.deleted ? "deleted" : ""}
              title={one.file ? `${one.name} (${one.file})` : one.name}
              onClick={() => (current.value = one.name)}
            >
              {one.replaces ? one.name.replace(/^[^/]*\//, "") : `${one.name} (new)`}
              {edited.has(one.name) && <span class="dot" role="img" aria-label="edited" />}
            </button>
          ))}
        </div>
      )}
      {entry ? (
        <>
          <div class="bar small">
            <span class="where">
              <bdi>
                {entry.deleted
                  ? "This draft takes the policy away."
                  : entry.file
                    ? `${entry.file}:${entry.fileLine}`
                    : "A new policy."}
              </bdi>
            </span>
            <button
              type="button"
              disabled={!edited.has(entry.name)}
              onClick={() => revert(entry.name)}
            >
              {entry.replaces ? "As it was" : "Discard"}
            </button>
            {entry.replaces && !entry.deleted && (
              <button type="button" onClick={() => remove(entry.name)}>
                Take away
              </button>
            )}
          </div>
          {entry.replaces && !entry.original && (
            <p class="quiet">The input holds no text of this policy.</p>
          )}
        </>
      ) : (
        <p class="quiet">
          Click a cell of the map to see which rules decide, and open one here. Or open a policy by
          its name, or begin with a template.
        </p>
      )}
      <div class={entry && !entry.deleted ? "grow" : "gone"}>
        <Editor />
      </div>
      {problems.value
        .filter((one) => !entryOf(one.entry))
        .map((one) => (
          <p class="wrong" key={one.message}>
            {one.message}
          </p>
        ))}
    </section>
  );
}
