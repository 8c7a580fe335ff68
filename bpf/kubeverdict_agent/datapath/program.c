/* The datapath of one node: a program for each hook of the host side of a pod's veth. Its ingress
 * sees packets from the pod, its egress packets to the pod. */
#include "accounting.h"
#include "conntrack.h"
#include "layout.h"
#include "maps.h"
#include "packet.h"
#include "recent.h"

/* ``place``: an earlier flow with the same ends, in either table, or NULL. */
static __always_inline void begin_flow(const struct context *c, const struct control *control,
                                       struct flow_key *key, struct flow *place,
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
  if (place)
    *place = flow;
  else
    store_flow(control, key, p->family, c->slot, &flow);
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

static __always_inline bool is_encapsulation(const struct packet *p) {
  if (p->protocol == PROTOCOL_UDP)
    return p->remote_port == PORT_VXLAN || p->remote_port == PORT_VXLAN_LINUX ||
           p->remote_port == PORT_GENEVE;
  return p->protocol == PROTOCOL_IPIP || p->protocol == PROTOCOL_SIXTOFOUR ||
         p->protocol == PROTOCOL_GRE;
}

/* The decision on a connection that began in direction ``origin``. What is inside of a tunnel can
 * have any source, and a node that ends it believes it: pods have none to nodes. */
static __always_inline u16 judged(const struct control *control, const struct judge *j,
                                  const struct packet *p, int origin) {
  if (origin == EGRESS && j->class & PEER_NODE && is_encapsulation(p) &&
      !(control->flags & ALLOW_ENCAPSULATION))
    return NO_DECISION;
  return verdict_on(j, p, origin);
}

/* The remote end of a packet. The node's address is that of its own sockets, which reach its pods,
 * and of all that it forwards with source NAT: a NodePort would open every pod to everyone. Where
 * the packet comes from the pod, and says nothing about that, ``own`` allows for both. */
static __always_inline struct judge judge_of(const struct cursor *cursor, u8 *half,
                                             const struct local *local, struct search *search,
                                             const struct packet *p, int direction) {
  struct judge j = {half, local, class_of_remote(half, search, p)};
  j.own = j.class & PEER_OWN &&
          (direction == EGRESS || (cursor->skb->sk && !cursor->skb->ingress_ifindex));
  return j;
}

/* A packet that matches no flow, or opens one. ``place``: what is remembered of the same addresses
 * and ports, or NULL; ``flow``: the same if it is alive. Its origin stays: that is the end that sent
 * the first packet. */
static __always_inline int on_new(const struct context *c, const struct control *control,
                                  const struct judge *j, struct flow_key *key,
                                  struct flow *place, struct flow *flow, const struct packet *p,
                                  int direction) {
  bool syn = is_syn(p), middle = p->protocol == PROTOCOL_TCP && !syn;
  u8 begun_by = direction == INGRESS && j->own ? FLOW_OWN_NODE : 0;
  u16 verdict = judged(control, j, p, direction);
  if (verdict & DECISION_ALLOWS) {
    bool begins = !middle;
    if (syn && flow) {
      bool again = flow->origin == direction;
      begins = again && flow->state & FLOW_ENDED;
      if (again && !begins) {
        /* Repeated, or forged: nothing tells that it opens another connection. */
        flow->decision = verdict;
        flow->generation = c->generation;
        touch_flow(flow, p, direction, c->length, c->tick);
      }
    } else if (middle && !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST))) {
      /* Of a connection that is not remembered. Which end began it is known where policy allows
       * one direction only; where it allows both, each packet passes by itself. */
      begins = !(judged(control, j, p, !direction) & DECISION_ALLOWS);
    }
    if (begins) begin_flow(c, control, key, place, p, direction, verdict, begun_by);
    return allowed(c, j, p, direction, verdict);
  }
  enum reason reason = verdict == NO_DECISION ? REASON_ENCAPSULATED
                       : middle               ? REASON_NO_FLOW
                       : direction == INGRESS && j->class & PEER_OWN ? REASON_MASQUERADED
                                                                     : REASON_DENIED;
  if (flow && flow->origin == direction) {
    flow->decision = verdict;
    flow->generation = c->generation;
    flow->seen = c->tick;
    if (flow->state & FLOW_ENDED) flow->state = begun_by;
  } else if (!flow && !middle && c->mode == MODE_AUDIT && verdict != NO_DECISION) {
    /* The connection goes on: its replies and later packets must not count as further denials. */
    begin_flow(c, control, key, place, p, direction, verdict, begun_by);
  }
  denied(c, p, direction, verdict, reason);
  return refuse(c, direction, reason);
}

/* A fragment that is not the first has no ports: it passes if the first one did. */
static __always_inline int on_later_fragment(const struct cursor *cursor, const struct context *c,
                                             u8 *half, const struct local *local,
                                             struct scratch *scratch, int direction) {
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
    struct judge j = judge_of(cursor, half, local, &scratch->search, p, direction);
    passed = may_talk(&j, p);
  }
  return passed ? pass(c, direction, REASON_FRAGMENT)
                : refuse_unjudged(c, p, direction, REASON_BAD_FRAGMENT);
}

/* Each packet on its own. ``flooded``: a bridge sent it to all its ports, and that of the pod which
 * has the address accounts for it. Policy holds here too, since a pod may have more addresses than
 * are known. */
static __always_inline int on_stateless(const struct cursor *cursor, const struct context *c,
                                        const struct control *control, u8 *half,
                                        const struct local *local, struct scratch *scratch,
                                        int direction, bool flooded) {
  const struct packet *p = &scratch->packet;
  struct judge j = judge_of(cursor, half, local, &scratch->search, p, direction);
  u16 verdict = judged(control, &j, p, direction);
  if (flooded)
    return verdict & DECISION_ALLOWS ? pass(c, direction, REASON_FLOODED)
                                     : refuse(c, direction, REASON_FLOODED);
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

static __always_inline bool is_ipv6_of(const struct local *local, const u32 *address) {
  return address[0] == local->ipv6[0] && address[1] == local->ipv6[1] &&
         address[2] == local->ipv6[2] && address[3] == local->ipv6[3];
}

static __always_inline bool is_link_local(const u32 *ipv6) {
  return (ipv6[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool is_multicast(const u32 *ipv6) {
  return (ipv6[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

/* Whether a packet from the pod has an address of the pod, or none that others could have. */
static __always_inline bool is_own(const struct local *local, const struct packet *p) {
  const u32 *from = p->local;
  if (!p->family) return true; /* ARP */
  if (p->family == 4) return from[3] == local->ipv4 || from[3] == 0;
  return is_ipv6_of(local, from) || is_link_local(from) ||
         (from[0] | from[1] | from[2] | from[3]) == 0;
}

/* Whether a frame for one receiver has come to a pod that has another address. */
static __always_inline bool is_flooded(const struct cursor *cursor, const struct local *local,
                                       const struct packet *p) {
  const u32 *to = p->local;
  if (p->family == 4) {
    if (!local->ipv4 || to[3] == local->ipv4) return false;
  } else if (!local->ipv6[0] || is_ipv6_of(local, to) || is_link_local(to) || is_multicast(to)) {
    return false;
  }
  const struct ethernet *header = cursor->data;
  if ((void *)(header + 1) > cursor->end) return false; /* cannot happen: it was parsed */
  return !(header->destination[0] & bpf_htons(0x0100)); /* not to a group */
}

/* Whether a message of discovery stays on the link: what it is sent to has no wider scope, or is in
 * the subnet of the pod, which in IPv6 is a /64. Listener discovery is sent to groups. */
static __always_inline bool is_near(const struct local *local, const struct packet *p,
                                    int direction) {
  const u32 *to = direction == EGRESS ? p->remote : p->local;
  bool listener = p->icmp >> 8 < 133 || p->icmp >> 8 == 143;
  if (is_multicast(to))
    return listener || (to[0] & bpf_htonl(0x000f0000)) <= bpf_htonl(0x00020000);
  if (listener) return false;
  if (is_link_local(to)) return true;
  return local->ipv6[0] && to[0] == local->ipv6[0] && to[1] == local->ipv6[1];
}

/* Whether either end of a flow may have begun it: nothing tells a reply from a first packet, and the
 * same ports are used both ways. */
static __always_inline bool is_symmetric(const struct packet *p) {
  return p->local_port == p->remote_port && p->protocol != PROTOCOL_TCP &&
         p->protocol != PROTOCOL_ICMP && p->protocol != PROTOCOL_ICMPV6;
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
  struct flow *flow = NULL, *place = NULL;
  bool known = false, related = false;
  if (p->quoted) {
    /* An ICMP error about an allowed flow passes too. */
    struct packet *quoted = &scratch->quoted;
    __builtin_memset(quoted, 0, sizeof *quoted);
    if (parse_quoted(cursor, direction, p, quoted) && is_for_sender(p, quoted, direction)) {
      name_flow(&key, quoted, c->endpoint);
      flow = find_flow(&key, quoted->family, c->slot);
      known = related = flow && is_alive(control, flow, quoted->protocol, c->tick);
      if (related) p = quoted;
    }
  }
  if (!related) {
    name_flow(&key, p, c->endpoint);
    flow = find_flow(&key, p->family, c->slot);
    if (!flow && plain) flow = restore_flow(control, recent, &key, p, c);
    place = flow;
    if (flow && !is_alive(control, flow, p->protocol, c->tick)) flow = NULL;
    known = flow && !is_syn(p);
  }
  bool turned = known && !related && direction != flow->origin && is_symmetric(p);
  if (!known || flow->generation != c->generation ||
      (turned && !(flow->decision & DECISION_ALLOWS))) {
    struct judge j = judge_of(cursor, half, local, &scratch->search, p, direction);
    if (known && flow->generation != c->generation) {
      struct judge first = j;
      first.own = j.class & PEER_OWN && flow->state & FLOW_OWN_NODE;
      flow->decision = judged(control, &first, p, flow->origin);
      flow->generation = c->generation;
    }
    if (!known || (turned && !(flow->decision & DECISION_ALLOWS)))
      return on_new(c, control, &j, &key, place, flow, p, direction);
  }
  if (!related) return on_flow(c, flow, recent, p, direction);
  if (flow->decision & DECISION_ALLOWS) return pass(c, direction, REASON_RELATED);
  denied(c, p, flow->origin, flow->decision, REASON_REVOKED);
  return refuse(c, direction, REASON_REVOKED);
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
  struct context c = {
      .generation = control->generation, .length = skb->len, .tick = current_tick()};
  if (control->tick != c.tick) control->tick = c.tick;
  u8 *half = base + PAGE_BYTES + (c.generation & 1) * HALF_BYTES;

  struct endpoint *endpoint = endpoint_of(skb->ifindex);
  struct local *local = NULL;
  if (endpoint && c.generation)
    local = (struct local *)(half + ((((struct tables *)half)->locals +
                                      endpoint->slot * sizeof *local) & (HALF_BYTES - 4)));
  if (!local || !local->present)
    return control->flags & UNKNOWN_CLOSED ? drop(&c, direction, REASON_UNKNOWN)
                                           : pass(&c, direction, REASON_UNKNOWN);
  /* What claims to be of others is dropped also of a pod that is off, if they are enforced. */
  bool guarding = direction == EGRESS && ((struct tables *)half)->guarded;
  if (local->mode == MODE_OFF && !guarding) return TC_ACT_UNSPEC;
  c.endpoint = endpoint->number;
  c.slot = endpoint->slot;
  c.mode = local->mode;

  /* The headers of most packets lie in one piece; pulling is for those where they do not. */
  u32 linear = skb->data_end - skb->data;
  if (linear < HEADERS && linear < skb->len)
    bpf_skb_pull_data(skb, skb->len < HEADERS ? skb->len : HEADERS);
  struct cursor cursor = {skb, (void *)(long)skb->data, (void *)(long)skb->data_end};
  struct packet *p = &scratch->packet;
  __builtin_memset(p, 0, sizeof *p);
  enum parsed parsed = parse(&cursor, direction, p);
  if (direction == EGRESS && parsed != MALFORMED && !is_own(local, p)) {
    /* An address that is not the pod's is never believed by pods that are enforced. */
    if (guarding && is_guarded(half, p)) c.mode = MODE_ENFORCE;
    return c.mode == MODE_OFF ? TC_ACT_UNSPEC : refuse_unjudged(&c, p, direction, REASON_SPOOFED);
  }
  if (c.mode == MODE_OFF) return TC_ACT_UNSPEC;
  if (parsed == MALFORMED || parsed == UNSUPPORTED)
    return refuse_unjudged(&c, p, direction,
                           parsed == MALFORMED ? REASON_MALFORMED : REASON_UNSUPPORTED);
  if (parsed == NEIGHBOUR && (p->family != 6 || is_near(local, p, direction)))
    return pass(&c, direction, REASON_NEIGHBOUR);
  bool flooded = direction == INGRESS && is_flooded(&cursor, local, p);
  if (flooded || (control->flags & STATELESS && !p->later))
    return on_stateless(&cursor, &c, control, half, local, scratch, direction, flooded);
  if (p->later) return on_later_fragment(&cursor, &c, half, local, scratch, direction);
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
