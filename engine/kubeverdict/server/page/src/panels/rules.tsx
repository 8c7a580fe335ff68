// Decisions in words, with the rules behind them as links into the editor.

import type { Decision, Isolation, RulePlace, Verdict } from "../api";
import { failure, openRule } from "../state";

const REASONS: Record<string, string> = {
  "not-isolated": "open: no policy isolates the pod",
  "not-a-pod": "open: no policy is about an address",
  "no-rule-matches": "isolated, and no rule matches",
  self: "open: a pod reaches itself",
  "own-node": "open: the node of a pod reaches it",
  "no-address": "not possible: the ends share no address family",
  icmp: "open: this network plug-in lets ICMP through",
  hairpin: "open: a pod reaches itself through a Service",
  conditional: "depends on a condition",
  "no-local-backend": "dropped: no backend on this node",
};

export function RuleLink({ rule }: { rule: RulePlace | Isolation }) {
  const field = "field" in rule ? rule.field : "";
  return (
    <button
      type="button"
      class="link"
      title={`${rule.file}:${rule.line}`}
      onClick={() => {
        openRule({ ...rule, field }).catch((error: Error) => (failure.value = error.message));
      }}
    >
      {rule.kind === "NetworkPolicy" ? "" : `${rule.kind} `}
      {rule.policy}
      {field ? ` ${field}` : ""}
    </button>
  );
}

/** The rule that decides, or the first policy that isolates: what one would change. */
export function Responsible({ verdict, other }: { verdict: Verdict | null; other: Verdict | null }) {
  if (!verdict) return <>an end is not there</>;
  const turned = (["ingress", "egress"] as const).filter(
    (side) => !other || other[side].allowed !== verdict[side].allowed,
  );
  const sides = turned.length ? turned : (["ingress"] as const);
  return (
    <>
      {sides.map((side, number) => (
        <span key={side}>
          {number ? ", " : ""}
          {side} <Brief decision={verdict[side]} />
        </span>
      ))}
    </>
  );
}

function Brief({ decision }: { decision: Decision }) {
  if (decision.rule)
    return (
      <>
        {decision.rule.action === "allow" ? "allowed by " : "denied by "}
        <RuleLink rule={decision.rule} />
      </>
    );
  const isolating = decision.isolated_by ?? [];
  if (isolating.length)
    return (
      <>
        isolated by{" "}
        {isolating.slice(0, 3).map((one, number) => (
          <span key={one.policy}>
            {number ? ", " : ""}
            <RuleLink rule={one} />
          </span>
        ))}
        {isolating.length > 3 ? ` and ${isolating.length - 3} more` : ""}
      </>
    );
  return <>{REASONS[decision.reason] ?? decision.reason}</>;
}

/** All of a decision, as the verb explain says it. */
export function Full({ decision }: { decision: Decision }) {
  if (decision.at_most && decision.at_least)
    return (
      <ul>
        <li>
          at most: <Full decision={decision.at_most} />
        </li>
        <li>
          at least: <Full decision={decision.at_least} />
        </li>
      </ul>
    );
  if (decision.layers)
    return (
      <ul>
        {decision.layers.map((one) => (
          <li key={one.layer}>
            {one.layer}: <Full decision={{ ...one, layers: [] }} />
          </li>
        ))}
      </ul>
    );
  return (
    <>
      {(decision.passed ?? []).map((rule) => (
        <span key={rule.line}>
          passed on by <RuleLink rule={rule} />;{" "}
        </span>
      ))}
      {decision.rule ? (
        <>
          <Brief decision={decision} />
          {decision.rule.condition ? ` (${decision.rule.condition})` : ""}
        </>
      ) : decision.isolated_by?.length ? (
        <>
          isolated, and no rule matches
          <ul class="misses">
            {decision.isolated_by.map((one) => (
              <li key={`${one.kind}/${one.policy}`}>
                <RuleLink
                  rule={
                    one.nearest
                      ? { ...one, field: one.nearest.field, line: one.nearest.line, action: "allow" }
                      : one
                  }
                />
                {one.nearest ? (
                  <ul>
                    {one.nearest.failures.map((failed) => (
                      <li key={failed.message}>{failed.message}</li>
                    ))}
                  </ul>
                ) : (
                  " has no rule for this direction"
                )}
              </li>
            ))}
          </ul>
        </>
      ) : (
        <Brief decision={decision} />
      )}
    </>
  );
}
