// The draft to take away: as a diff, as YAML, as a link.

import { signal, useSignalEffect } from "@preact/signals";
import { ask } from "../api";
import { changedEntries, draft, type Entry } from "../draft";
import { failure, said } from "../state";
import { shareLink } from "../share";

const patch = signal("");

export function yamlOf(entries: readonly Entry[]): string {
  return entries
    .map((one) =>
      one.deleted
        ? `# take away: kubectl delete ${command(one.replaces)}\n`
        : `${one.text.trimEnd()}\n`,
    )
    .join("---\n");
}

function command(key: string): string {
  const [kind, ...path] = key.split("/");
  const name = path.pop() ?? "";
  return `${(kind ?? "").toLowerCase()} ${name}${path.length ? ` -n ${path.join("/")}` : ""}`;
}

function save(name: string, content: string): void {
  const address = URL.createObjectURL(new Blob([content], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

async function copy(content: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(content);
    said.value = `${what} copied`;
  } catch (error) {
    failure.value = `not copied: ${(error as Error).message}`;
  }
}

export function TakePanel() {
  useSignalEffect(() => {
    if (!draft.value.length) {
      patch.value = "";
      return;
    }
    ask<{ patch: string }>("api/patch", { draft: draft.value })
      .then((found) => (patch.value = found.patch))
      .catch((error: Error) => (failure.value = error.message));
  });
  const edited = changedEntries.value;
  if (!edited.length) return <p class="quiet">Nothing is edited, so there is nothing to take.</p>;
  return (
    <div>
      <div class="bar wrap">
        <button type="button" class="main" onClick={() => save("draft.yaml", yamlOf(edited))}>
          Download YAML
        </button>
        <button type="button" onClick={() => void copy(yamlOf(edited), "YAML")}>
          Copy YAML
        </button>
        <button type="button" onClick={() => save("draft.patch", patch.value)}>
          Download diff
        </button>
        <button type="button" onClick={() => void copy(patch.value, "Diff")}>
          Copy diff
        </button>
        <button
          type="button"
          onClick={() => void shareLink().then((link) => copy(link, "Link"))}
          title="An address with the draft in it, for whoever serves the same cluster"
        >
          Copy link
        </button>
      </div>
      <pre class="patch" tabIndex={0} aria-label="Unified diff" data-testid="patch">
        {patch.value.split("\n").map((line, number) => (
          <span key={number} class={kind(line)}>
            {line}
            {"\n"}
          </span>
        ))}
      </pre>
    </div>
  );
}

function kind(line: string): string {
  if (line.startsWith("+++") || line.startsWith("---")) return "file";
  return line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : "";
}
