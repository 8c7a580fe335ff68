// Behind a line: how many pods the rule there selects.

import { StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, WidgetType, type DecorationSet } from "@codemirror/view";

export interface Note {
  line: number;
  text: string;
  none: boolean;
}

class NoteWidget extends WidgetType {
  constructor(private readonly note: Note) {
    super();
  }

  override eq(other: NoteWidget): boolean {
    return other.note.text === this.note.text && other.note.none === this.note.none;
  }

  toDOM(): HTMLElement {
    const element = document.createElement("span");
    element.className = this.note.none ? "selects none" : "selects";
    element.textContent = this.note.text;
    return element;
  }
}

export const setNotes = StateEffect.define<Note[]>();

export const notes = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(shown, transaction) {
    let found = shown.map(transaction.changes);
    for (const effect of transaction.effects) {
      if (!effect.is(setNotes)) continue;
      const document = transaction.state.doc;
      const made = effect.value
        .filter((note) => note.line >= 1 && note.line <= document.lines)
        .sort((one, other) => one.line - other.line)
        .map((note) =>
          Decoration.widget({ widget: new NoteWidget(note), side: 1 }).range(
            document.line(note.line).to,
          ),
        );
      found = Decoration.set(made);
    }
    return found;
  },
  provide: (field) => EditorView.decorations.from(field),
});
