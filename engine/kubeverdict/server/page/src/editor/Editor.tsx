// The editor of one policy, with what is wrong and what rules select beside its lines.

import { autocompletion, closeBrackets, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import {
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { current, entries, entryOf, goTo, problems, selected, type } from "../draft";
import { counted } from "../places";
import { complete } from "./complete";
import { notes, setNotes, type Note } from "./notes";

const colors = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--key)" },
  { tag: [tags.string, tags.content], color: "var(--ink)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--faint)", fontStyle: "italic" },
  { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace], color: "var(--faint)" },
  { tag: [tags.keyword, tags.atom, tags.number, tags.bool], color: "var(--value)" },
]);

const nonce =
  document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content ?? "";

const extensions = [
  EditorView.cspNonce.of(nonce),
  lineNumbers(),
  highlightActiveLine(),
  highlightActiveLineGutter(),
  history(),
  closeBrackets(),
  indentUnit.of("  "),
  EditorState.tabSize.of(2),
  yaml(),
  syntaxHighlighting(colors),
  autocompletion({ override: [complete] }),
  lintGutter(),
  notes,
  keymap.of([...completionKeymap, ...defaultKeymap, ...historyKeymap, ...lintKeymap, indentWithTab]),
  EditorView.contentAttributes.of({ "aria-label": "Text of the policy", tabindex: "0" }),
  EditorView.updateListener.of((update) => {
    if (update.docChanged) type(current.peek(), update.state.doc.toString());
  }),
];

export function Editor() {
  const parent = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  // Each policy keeps its own cursor and what can be undone.
  const states = useRef(new Map<string, EditorState>());
  const shown = useRef("");

  useEffect(() => {
    view.current = new EditorView({ parent: parent.current!, extensions });
    show(current.peek());
    return () => view.current?.destroy();
  }, []);

  function show(name: string): void {
    const editor = view.current;
    if (!editor) return;
    if (shown.current) states.current.set(shown.current, editor.state);
    shown.current = name;
    const text = entryOf(name)?.text ?? "";
    const kept = states.current.get(name);
    editor.setState(
      kept && kept.doc.toString() === text
        ? kept
        : EditorState.create({ doc: text, extensions }),
    );
  }

  useSignalEffect(() => {
    const name = current.value;
    const entry = entries.value.find((one) => one.name === name);
    const editor = view.current;
    if (!editor) return;
    if (name !== shown.current) show(name);
    else if (entry && entry.text !== editor.state.doc.toString()) {
      // It was reverted: that can be undone as well.
      editor.dispatch({
        changes: { from: 0, to: editor.state.doc.length, insert: entry.text },
      });
    }
  });

  useSignalEffect(() => {
    const { line, count } = goTo.value;
    const editor = view.current;
    if (!editor || !count) return;
    if (current.peek() !== shown.current) show(current.peek());
    const at = editor.state.doc.line(Math.min(Math.max(line, 1), editor.state.doc.lines));
    editor.dispatch({
      selection: { anchor: at.from },
      effects: EditorView.scrollIntoView(at.from, { y: "center" }),
    });
    editor.focus();
  });

  useSignalEffect(() => {
    const name = current.value;
    const found = problems.value.filter((one) => one.entry === name);
    const editor = view.current;
    if (!editor) return;
    const document = editor.state.doc;
    const listed: Diagnostic[] = found.map((one) => {
      const line = document.line(Math.min(Math.max(one.line, 1), document.lines));
      const indent = line.text.length - line.text.trimStart().length;
      const message = one.field ? `${one.field}: ${one.message}` : one.message;
      return { from: line.from + indent, to: line.to, severity: one.severity, message };
    });
    editor.dispatch(setDiagnostics(editor.state, listed));
  });

  useSignalEffect(() => {
    const name = current.value;
    const entry = entries.value.find((one) => one.name === name);
    const known = selected.value.filter((one) => one.file === name);
    const own = known.length || entry?.text !== entry?.original ? known : (entry?.selected ?? []);
    const found: Note[] = own.flatMap((policy) => [
      { line: policy.line, text: `selects ${counted(policy.pods, "pod")}`, none: !policy.pods },
      ...policy.rules.map((rule) => ({
        line: rule.line,
        text:
          `${rule.direction === "ingress" ? "from" : "to"} ${counted(rule.pods, "pod")}` +
          (rule.addresses ? " and addresses" : ""),
        none: !rule.pods && !rule.addresses,
      })),
    ]);
    view.current?.dispatch({ effects: setNotes.of(found) });
  });

  return <div class="editor" ref={parent} data-testid="editor" />;
}
