/* Connections, each kept once a local pod.
 *
 * Keys are in local and remote order, so one look serves both directions, and hold the endpoint,
 * because both ends may be pods of this node and because an address may come back with another pod.
 * A flow is judged again, in the direction of its first packet, when the policy has changed. */
#pragma once
#include "maps.h"
#include "packet.h"

/* Time is counted in ticks of about a second: the jiffies of the kernel, which it reads without a
 * call, shifted by what the agent knows of their length. */
static __always_inline u32 current_tick(void) { return bpf_jiffies64() >> TICK_SHIFT; }

#define FRAGMENT_TICKS 30

struct flow_key {
  struct flow4 four;
  struct flow6 six;
};

/* The pod and the protocol that a packet is of, in one word. */
static __always_inline u32 owner_of(const struct packet *p, u32 endpoint) {
  return endpoint << 8 | p->protocol;
}

static __always_inline void name_flow(struct flow_key *key, const struct packet *p, u32 endpoint) {
  if (p->family == 4) {
    key->four.local = p->local[3];
    key->four.remote = p->remote[3];
    key->four.local_port = p->local_port;
    key->four.remote_port = p->remote_port;
    key->four.owner = owner_of(p, endpoint);
  } else {
    __builtin_memcpy(key->six.local, p->local, 16);
    __builtin_memcpy(key->six.remote, p->remote, 16);
    key->six.local_port = p->local_port;
    key->six.remote_port = p->remote_port;
    key->six.owner = owner_of(p, endpoint);
  }
}

static __always_inline struct share *share_of(u32 slot) {
  slot &= SLOTS - 1;
  return shares.lookup(&slot);
}

static __always_inline struct flow *find_crowded(struct flow_key *key, u8 family) {
  return family == 4 ? crowded4.lookup(&key->four) : crowded6.lookup(&key->six);
}

static __always_inline struct flow *find_first(struct flow_key *key, u8 family) {
  return family == 4 ? flows4.lookup(&key->four) : flows6.lookup(&key->six);
}

static __always_inline struct flow *find_flow(struct flow_key *key, u8 family, u32 slot) {
  struct flow *flow = find_first(key, family);
  if (flow) return flow;
  struct share *share = share_of(slot);
  return share && share->crowded ? find_crowded(key, family) : NULL;
}

/* Store a flow that is in neither table. */
static __always_inline void store_flow(const struct control *control, struct flow_key *key,
                                       u8 family, u32 slot, struct flow *flow) {
  struct share *share = share_of(slot);
  if (!share) return; /* cannot happen: an array has all its values */
  if (share->held < control->share) {
    __sync_fetch_and_add(&share->held, 1);
    if (family == 4)
      flows4.update(&key->four, flow);
    else
      flows6.update(&key->six, flow);
    return;
  }
  if (!share->crowded) share->crowded = 1;
  if (family == 4)
    crowded4.update(&key->four, flow);
  else
    crowded6.update(&key->six, flow);
}

#define FLOW_ENDED (FLOW_CLOSING | FLOW_RESET)

static __always_inline u32 lifetime(const struct control *control, u8 state, u8 protocol) {
  if (state & FLOW_ENDED) return CLOSING_TICKS;
  if (!(state & (FLOW_REPLIED | FLOW_ADOPTED))) return NO_REPLY_TICKS;
  bool says_its_end = protocol == PROTOCOL_TCP || protocol == PROTOCOL_SCTP;
  return says_its_end ? control->tcp_idle : control->other_idle;
}

static __always_inline bool is_alive(const struct control *control, const struct flow *flow,
                                     u8 protocol, u32 tick) {
  /* Signed: another CPU may be a tick ahead. */
  return (s32)(tick - flow->seen) <= (s32)lifetime(control, flow->state, protocol);
}

/* Whether a packet asks for a connection. Only with TCP it can be told. */
static __always_inline bool is_syn(const struct packet *p) {
  return p->protocol == PROTOCOL_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* Count a packet and follow the state. A word is written only when it changes: other CPUs read it. */
static __always_inline void touch_flow(struct flow *flow, const struct packet *p, int direction,
                                       u32 length, u32 tick) {
  u8 state = flow->state;
  if (direction != flow->origin) state |= FLOW_REPLIED;
  /* A connection that one end has closed may stay open in the other direction. */
  if (p->tcp_flags & TCP_FIN) state |= direction == flow->origin ? FLOW_FIN : FLOW_REPLY_FIN;
  if ((state & (FLOW_FIN | FLOW_REPLY_FIN)) == (FLOW_FIN | FLOW_REPLY_FIN)) state |= FLOW_CLOSING;
  /* Anyone can send a reset. Where it was heeded, all that follows is answered with another. */
  state = p->tcp_flags & TCP_RST ? state | FLOW_RESET : state & ~FLOW_RESET;
  if (state != flow->state) flow->state = state;
  if (tick != flow->seen) flow->seen = tick;
  /* Not atomic: the packets of a flow mostly come on one CPU, and nothing is decided by it. */
  flow->packets++;
  flow->bytes += length;
}

static __always_inline void name_datagram(struct datagram *key, const struct packet *p,
                                          u32 endpoint, int direction) {
  __builtin_memcpy(key->source, direction == EGRESS ? p->local : p->remote, 16);
  __builtin_memcpy(key->destination, direction == EGRESS ? p->remote : p->local, 16);
  key->id = p->id;
  /* What the fragments of an IPv6 datagram say follows may differ; the first counts (RFC 8200). */
  key->owner = p->family == 4 ? owner_of(p, endpoint) : endpoint << 8;
}
