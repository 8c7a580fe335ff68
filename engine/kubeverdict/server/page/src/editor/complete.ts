// Completion: the fields of a NetworkPolicy, and names that exist.

import type { CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import { overview } from "../state";

const FIELDS = [
  ..."apiVersion kind metadata name namespace labels annotations spec podSelector".split(" "),
  ..."namespaceSelector matchLabels matchExpressions policyTypes ingress egress from to".split(" "),
  ..."ports protocol port endPort ipBlock cidr except key operator values".split(" "),
];
const VALUES: Record<string, string[]> = {
  protocol: ["TCP", "UDP", "SCTP"],
  operator: ["In", "NotIn", "Exists", "DoesNotExist"],
  policyTypes: ["[Ingress]", "[Egress]", "[Ingress, Egress]"],
  kind: ["NetworkPolicy"],
  apiVersion: ["networking.k8s.io/v1"],
};
const NAMESPACE = /(?:^|[\s{,])(?:namespace|kubernetes\.io\/metadata\.name):\s*([\w.-]*)$/;
const VALUE = /(?:^|[\s{,])(\w+):\s*([\w[\]., -]*)$/;

export function complete(context: CompletionContext): CompletionResult | null {
  const line = context.state.doc.lineAt(context.pos);
  const before = line.text.slice(0, context.pos - line.from);
  const namespace = NAMESPACE.exec(before);
  if (namespace) {
    const names = overview.value?.namespaces.map((one) => one.name).filter(Boolean) ?? [];
    return offered(context.pos - namespace[1]!.length, names);
  }
  const value = VALUE.exec(before);
  if (value) {
    const known = VALUES[value[1]!];
    return known ? offered(context.pos - value[2]!.length, known) : null;
  }
  const word = /(?:^|[\s{,-])([A-Za-z]+)$/.exec(before);
  if (!word && !context.explicit) return null;
  return offered(
    context.pos - (word?.[1]?.length ?? 0),
    FIELDS.map((field) => `${field}:`),
  );
}

function offered(from: number, labels: string[]): CompletionResult {
  return { from, options: labels.map((label) => ({ label })), validFor: /^[\w.:[\], -]*$/ };
}
