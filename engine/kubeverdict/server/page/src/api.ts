// What the server answers, and how it is asked.

export type Span = [first: number, last: number];
export type Ports = "all" | Record<string, string>;

export interface PolicyListed {
  key: string;
  kind: string;
  namespace: string;
  name: string;
  file: string;
}

export interface Overview {
  version: number;
  kubeverdict: string;
  profile: string;
  pods: number;
  namespaces: { name: string; first: number }[];
  workloads: [name: string, reference: string, pods: number][];
  policies: PolicyListed[];
  assertions: string;
  notes: string[];
}

export interface PolicyText {
  key: string;
  text: string;
  file: string;
  line: number;
  lines: Record<string, number>;
  selected: Selected[];
}

export interface RulePlace {
  kind: string;
  policy: string;
  field: string;
  file: string;
  line: number;
  action: string;
  condition?: string;
}

export interface Failure {
  message: string;
}

export interface Isolation {
  kind: string;
  policy: string;
  file: string;
  line: number;
  nearest?: { field: string; line: number; failures: Failure[] };
}

export interface Decision {
  allowed: boolean;
  reason: string;
  rule?: RulePlace;
  isolated_by?: Isolation[];
  passed?: RulePlace[];
  at_most?: Decision;
  at_least?: Decision;
  layers?: (Decision & { layer: string })[];
}

export interface Verdict {
  allowed: boolean;
  egress: Decision;
  ingress: Decision;
}

export interface Answer extends Verdict {
  sources: string[];
  destinations: string[];
  protocol: string;
  port: number;
  family?: string;
  service_port?: string;
  condition?: string;
}

export interface Explanation {
  source: string;
  destination: string;
  port: string;
  allowed: boolean;
  answers: Answer[];
  notes: string[];
  via?: string;
}

export interface Change {
  opens: boolean;
  sources: Span[];
  destinations: Span[];
  outside: string;
  ports: Ports;
  pairs: number;
  before: Verdict | null;
  after: Verdict | null;
  family?: string;
  bound?: string;
}

export interface Problem {
  entry: string;
  line: number;
  field: string;
  message: string;
  severity: "error" | "warning";
}

export interface Selected {
  kind: string;
  name: string;
  file: string;
  line: number;
  pods: number;
  rules: {
    field: string;
    line: number;
    direction: string;
    action: string;
    pods: number;
    addresses: boolean;
  }[];
}

export type CellChange = [opens: boolean, sources: Span[], destinations: Span[]];

export type Stage = { id: number } & (
  | { stage: "read"; valid: boolean; problems: Problem[] }
  | { stage: "selected"; policies: Selected[] }
  | {
      stage: "changed";
      totals: { families: number[]; opened: number; closed: number }[];
      number: number;
      changes: Change[];
      cells: CellChange[];
    }
  | { stage: "failed"; error: string }
);

export interface DraftEntry {
  name: string;
  replaces: string;
  text: string | null;
}

export interface CellAnswer {
  ports: { family: string; ports: Ports }[];
  ask: { port: string; name: string }[];
}

export interface Finding {
  id: string;
  severity: string;
  file: string | null;
  line: number | null;
  objects: string[];
  message: string;
  why?: string;
  fix?: string;
}

export interface Asserted {
  name: string;
  claim: string;
  status: string;
  file: string;
  line: number;
  description: string;
  violations: { source?: string; destination?: string; [more: string]: unknown }[];
  [more: string]: unknown;
}

async function answered(response: Response): Promise<Response> {
  if (response.ok) return response;
  let message = `${response.status} ${response.statusText}`;
  try {
    message = ((await response.json()) as { error: string }).error;
  } catch {
    // No sentence came with it.
  }
  throw new Error(message);
}

export async function ask<T>(path: string, question?: unknown): Promise<T> {
  const asked: RequestInit =
    question === undefined
      ? {}
      : {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(question),
        };
  const response = await answered(await fetch(path, asked));
  return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
}

export async function bytes(path: string): Promise<ArrayBuffer> {
  return (await answered(await fetch(path))).arrayBuffer();
}

/** Exchange the token in the address for the cookie that every answer needs. */
export async function openSession(token: string): Promise<void> {
  await ask("api/session", { token });
}
