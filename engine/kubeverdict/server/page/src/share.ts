// A draft in the fragment of the address, which browsers send nowhere.

import { batch } from "@preact/signals";
import { addNew, changedEntries, openPolicy, remove, type } from "./draft";

interface Shared {
  replaces: string;
  text: string | null;
}

async function piped(content: BlobPart, through: GenericTransformStream): Promise<Uint8Array> {
  const stream = new Blob([content]).stream().pipeThrough(through);
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function shareLink(): Promise<string> {
  const shared: Shared[] = changedEntries
    .peek()
    .map((one) => ({ replaces: one.replaces, text: one.deleted ? null : one.text }));
  const packed = await piped(JSON.stringify(shared), new CompressionStream("deflate-raw"));
  const text = btoa(String.fromCharCode(...packed));
  const address = new URL(location.href);
  address.hash = `draft=${text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
  return address.href;
}

/** Open what a fragment holds; policies that are not there any more come as new ones. */
export async function openShared(fragment: string): Promise<void> {
  const packed = Uint8Array.from(
    atob(fragment.replaceAll("-", "+").replaceAll("_", "/")),
    (letter) => letter.charCodeAt(0),
  );
  const content = await piped(packed, new DecompressionStream("deflate-raw"));
  const shared = JSON.parse(new TextDecoder().decode(content)) as Shared[];
  for (const one of shared) {
    let known = false;
    if (one.replaces) {
      try {
        await openPolicy(one.replaces);
        known = true;
      } catch {
        // It is not in this cluster.
      }
    }
    batch(() => {
      if (known && one.text === null) remove(one.replaces);
      else if (known && one.text !== null) type(one.replaces, one.text);
      else if (one.text !== null) addNew(one.text);
    });
  }
}
