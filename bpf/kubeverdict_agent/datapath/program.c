/* The datapath of one node: a program for each hook of the host side of a pod's veth. Its ingress
 * sees packets from the pod, its egress packets to the pod. */
#include "accounting.h"
#include "conntrack.h"
#include "layout.h"
#include "maps.h"
#include "packet.h"
#include "recent.h"

static __always_inline void begin_flow(const struct context *c, struct flow_key *key,
                                       const struct packet *p, int origin, u16 verdict, u8 state) {
  struct flow flow = {
      .generation = c->generation,
      .seen = c->tick,
      .packets = 1,
      .bytes = c->length,
      .since = c->tick,
      .decision = verdict,
      .origin = origin,
      .state = state,
  };
  store_flow(key, p->family, &flow);
}

/* A packet of a flow that has been judged. */
static __always_inline int on_flow(const struct context *c, struct flow *flow,
                                   struct recent *recent, const struct packet *p, int direction) {
  touch_flow(flow, p, direction, c->length, c->tick);
  if (flow->decision & DECISION_ALLOWS) {
    if (flow->packets > WORTH_CACHING && is_plain(p))
      cache_flow(recent, flow, p, c, direction);
    return pass(c, direction, REASON_FLOW);
  }
  /* The entry stays, denied: without it a reply would start a flow in the other direction. */
  if (direction == flow->origin || c->mode == MODE_ENFORCE)
    denied(c, p, flow->origin, flow->decision, REASON_REVOKED);
  return refuse(c, direction, REASON_REVOKED);
}

/* A packet that policy allows and that is not of a known connection. What only a condition allows
 * passes in any mode: the datapath cannot see conditions, and must not cut what may be allowed.
 * Auditing reports it. */
static __always_inline int allowed(const struct context *c, const struct judge *j,
                                   const struct packet *p, int direction, u16 verdict) {
  if (!depends(j, verdict)) return pass(c, direction, REASON_POLICY);
  if (c->mode == MODE_AUDIT) denied(c, p, direction, verdict, REASON_CONDITIONAL);
  return pass(c, direction, REASON_CONDITIONAL);
}

#define EPHEMERAL 32768 /* ports that Linux gives to clients begin here */

/* Whether a mid-connection packet may belong to a connection older than the filtering of its pod. */
static __always_inline bool may_be_older(const struct context *c, const struct control *control) {
  u64 now_ns = coarse_clock();
  return now_ns < control->adopt_until_ns || (now_ns >> ADOPT_SHIFT) < c->adopt_until;
}

/* A packet that matches no flow, or opens one. ``flow``: an earlier one with the same addresses and
 * ports, or NULL. */
static __always_inline int on_new(const struct context *c, const struct control *control,
                                  const struct judge *j, struct flow_key *key, struct flow *flow,
                                  const struct packet *p, int direction) {
  bool tcp = p->protocol == PROTOCOL_TCP;
  bool syn = tcp && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
  bool middle = tcp && !syn;
  u16 verdict = verdict_on(j, p, direction);
  if ((verdict & DECISION_ALLOWS) && !middle) {
    begin_flow(c, key, p, direction, verdict, 0);
    return allowed(c, j, p, direction, verdict);
  }
  /* Mostly the ports show which end opened the connection. Where policy denies that direction, the
   * other one is tried for TCP alone: a packet of another protocol may open a connection, and would
   * bypass policy. So of other protocols only replies to ephemeral ports are adopted. */
  int origin = p->local_port >= p->remote_port ? EGRESS : INGRESS;
  bool ephemeral = (origin == EGRESS ? p->local_port : p->remote_port) >= EPHEMERAL;
  bool adoptable = middle || (!tcp && numbered(p->protocol) >= 0 && ephemeral);
  if (adoptable && !flow && may_be_older(c, control)) {
    u16 first = verdict_on(j, p, origin), second = verdict_on(j, p, !origin);
    if (tcp && !(first & DECISION_ALLOWS)) {
      origin = !origin;
      first = second;
    }
    if (first & DECISION_ALLOWS) {
      begin_flow(c, key, p, origin, first, FLOW_ADOPTED);
      return pass(c, direction, REASON_ADOPTED);
    }
  }
  /* Only a SYN opens a TCP connection; otherwise a stray reply would reverse its direction. */
  if (verdict & DECISION_ALLOWS) return allowed(c, j, p, direction, verdict);
  enum reason reason = middle ? REASON_NO_FLOW : REASON_DENIED;
  if (flow && flow->origin == direction) {
    flow->decision = verdict;
    flow->generation = c->generation;
    flow->state = 0;
    flow->seen = c->tick;
  } else if (!flow && !middle && c->mode == MODE_AUDIT) {
    /* The connection goes on: its replies and later packets must not count as further denials. */
    begin_flow(c, key, p, direction, verdict, 0);
  }
  denied(c, p, direction, verdict, reason);
  return refuse(c, direction, reason);
}

/* A fragment that is not the first has no ports: it passes if the first one did. */
static __always_inline int on_later_fragment(const struct context *c, u8 *half,
                                             const struct local *local, struct scratch *scratch,
                                             int direction) {
  const struct packet *p = &scratch->packet;
  struct datagram key = {};
  name_datagram(&key, p, c->endpoint, direction);
  struct datagram_verdict *first = datagrams.lookup(&key);
  bool passed;
  if (first && (s32)(c->tick - first->tick) <= FRAGMENT_TICKS) {
    passed = first->passed;
  } else {
    /* It arrived before the first. The datagram cannot be reassembled if that is denied, so a later
     * fragment may pass where some port is open. */
    struct judge j = {half, local, class_of_remote(half, &scratch->search, p)};
    passed = may_talk(&j, p);
  }
  return passed ? pass(c, direction, REASON_FRAGMENT) : refuse(c, direction, REASON_BAD_FRAGMENT);
}

/* Each packet on its own. */
static __always_inline int on_stateless(const struct context *c, u8 *half,
                                        const struct local *local, struct scratch *scratch,
                                        int direction) {
  const struct packet *p = &scratch->packet;
  struct judge j = {half, local, class_of_remote(half, &scratch->search, p)};
  u16 verdict = verdict_on(&j, p, direction);
  if (verdict & DECISION_ALLOWS) return allowed(c, &j, p, direction, verdict);
  denied(c, p, direction, verdict, REASON_DENIED);
  return refuse(c, direction, REASON_DENIED);
}

/* An ICMP error goes to the sender of the packet that it quotes. Without this check a pod could
 * send anything anywhere by quoting a connection that it is allowed. */
static __always_inline bool is_for_sender(const struct packet *error, const struct packet *quoted,
                                          int direction) {
  const u32 *to = direction == EGRESS ? error->remote : error->local;
  const u32 *sender = direction == EGRESS ? quoted->remote : quoted->local;
  return to[0] == sender[0] && to[1] == sender[1] && to[2] == sender[2] && to[3] == sender[3];
}

/* Whether a packet from the pod has an address of the pod, or none that others could have. */
static __always_inline bool is_own(const struct local *local, const struct packet *p) {
  const u32 *from = p->local;
  if (p->family == 4) return from[3] == local->ipv4 || from[3] == 0;
  if (from[0] == local->ipv6[0] && from[1] == local->ipv6[1] && from[2] == local->ipv6[2] &&
      from[3] == local->ipv6[3])
    return true;
  bool link_local = (from[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
  return link_local || (from[0] | from[1] | from[2] | from[3]) == 0;
}

static __always_inline int on_packet(const struct cursor *cursor, const struct context *c,
                                     const struct control *control, u8 *half,
                                     const struct local *local, struct scratch *scratch,
                                     int direction) {
  const struct packet *p = &scratch->packet;
  struct recent *recent = cache_slot(p, c->endpoint);
  if (!recent) return TC_ACT_UNSPEC; /* cannot happen: an array has all its values */
  bool plain = is_plain(p);
  if (!plain)
    invalidate(recent, p, c);
  else if (count_cached(recent, p, c, direction))
    return pass(c, direction, REASON_FLOW);
  struct flow_key key = {};
  struct flow *flow = NULL;
  bool known = false, related = false;
  if (p->quoted) {
    /* An ICMP error about an allowed flow passes too. */
    struct packet *quoted = &scratch->quoted;
    __builtin_memset(quoted, 0, sizeof *quoted);
    if (parse_quoted(cursor, direction, p, quoted) && is_for_sender(p, quoted, direction)) {
      name_flow(&key, quoted, c->endpoint);
      flow = find_flow(&key, quoted->family);
      known = related = flow && is_alive(flow, quoted->protocol, c->tick);
      if (related) p = quoted;
    }
  }
  if (!related) {
    name_flow(&key, p, c->endpoint);
    flow = find_flow(&key, p->family);
    if (!flow && plain) flow = restore_flow(recent, &key, p, c);
    if (flow && !is_alive(flow, p->protocol, c->tick)) flow = NULL;
    /* A SYN asks for a new connection, also over the ports of one that is known. */
    known = flow && !(p->protocol == PROTOCOL_TCP &&
                      (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN);
  }
  if (!known || flow->generation != c->generation) {
    struct judge j = {half, local, class_of_remote(half, &scratch->search, p)};
    if (!known) return on_new(c, control, &j, &key, flow, p, direction);
    flow->decision = verdict_on(&j, p, flow->origin);
    flow->generation = c->generation;
  }
  if (!related) return on_flow(c, flow, recent, p, direction);
  return flow->decision & DECISION_ALLOWS ? pass(c, direction, REASON_RELATED)
                                          : refuse(c, direction, REASON_REVOKED);
}

static __always_inline struct endpoint *endpoint_of(u32 ifindex) {
  u32 set = ifindex % INTERFACES;
  struct endpoints *found = endpoints.lookup(&set);
  if (!found) return NULL;
#pragma unroll
  for (int way = 0; way < WAYS; way++)
    if (found->way[way].ifindex == ifindex) return &found->way[way];
  return NULL;
}

static __always_inline int handle(struct __sk_buff *skb, int direction) {
  int zero = 0;
  u8 *base = (u8 *)arena.lookup(&zero);
  struct scratch *scratch = scratches.lookup(&zero);
  if (!base || !scratch) return TC_ACT_UNSPEC; /* cannot happen: an array has all its values */
  struct control *control = (struct control *)base;
  struct context c = {.generation = control->generation, .length = skb->len};
  u8 *half = base + PAGE_BYTES + (c.generation & 1) * HALF_BYTES;

  struct endpoint *endpoint = endpoint_of(skb->ifindex);
  struct local *local = NULL;
  if (endpoint && c.generation)
    local = (struct local *)(half + ((((struct tables *)half)->locals +
                                      endpoint->slot * sizeof *local) & (HALF_BYTES - 4)));
  if (!local || !local->present)
    return control->flags & UNKNOWN_CLOSED ? drop(&c, direction, REASON_UNKNOWN)
                                           : pass(&c, direction, REASON_UNKNOWN);
  if (local->mode == MODE_OFF) return TC_ACT_UNSPEC;
  c.endpoint = endpoint->number;
  c.adopt_until = endpoint->adopt_until;
  c.mode = local->mode;
  c.tick = current_tick();
  if (control->tick != c.tick) control->tick = c.tick;

  /* The headers of most packets lie in one piece; pulling is for those where they do not. */
  u32 linear = skb->data_end - skb->data;
  if (linear < HEADERS && linear < skb->len)
    bpf_skb_pull_data(skb, skb->len < HEADERS ? skb->len : HEADERS);
  struct cursor cursor = {skb, (void *)(long)skb->data, (void *)(long)skb->data_end};
  struct packet *p = &scratch->packet;
  __builtin_memset(p, 0, sizeof *p);
  enum parsed parsed = parse(&cursor, direction, p);
  if (parsed == NEIGHBOUR) return pass(&c, direction, REASON_NEIGHBOUR);
  if (parsed != PARSED)
    return refuse(&c, direction, parsed == MALFORMED ? REASON_MALFORMED : REASON_UNSUPPORTED);
  if (direction == EGRESS && !is_own(local, p)) return refuse(&c, direction, REASON_SPOOFED);
  if (p->later) return on_later_fragment(&c, half, local, scratch, direction);
  if (control->flags & STATELESS) return on_stateless(&c, half, local, scratch, direction);
  int action = on_packet(&cursor, &c, control, half, local, scratch, direction);
  if (p->first) {
    struct datagram key = {};
    name_datagram(&key, p, c.endpoint, direction);
    struct datagram_verdict first = {.tick = c.tick, .passed = action != TC_ACT_SHOT};
    datagrams.update(&key, &first);
  }
  return action;
}

int from_pod(struct __sk_buff *skb) { return handle(skb, EGRESS); }

int to_pod(struct __sk_buff *skb) { return handle(skb, INGRESS); }
