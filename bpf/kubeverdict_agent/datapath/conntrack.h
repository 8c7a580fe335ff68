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

static __always_inline struct flow *find_flow(struct flow_key *key, u8 family) {
  return family == 4 ? flows4.lookup(&key->four) : flows6.lookup(&key->six);
}

static __always_inline void store_flow(struct flow_key *key, u8 family, struct flow *flow) {
  if (family == 4)
    flows4.update(&key->four, flow);
  else
    flows6.update(&key->six, flow);
}

static __always_inline u32 lifetime(u8 state, u8 protocol) {
  if (state & FLOW_CLOSING) return CLOSING_TICKS;
  if (!(state & (FLOW_REPLIED | FLOW_ADOPTED))) return NO_REPLY_TICKS;
  return protocol == PROTOCOL_TCP || protocol == PROTOCOL_SCTP ? TCP_TICKS : OTHER_TICKS;
}

static __always_inline bool is_alive(const struct flow *flow, u8 protocol, u32 tick) {
  /* Signed: another CPU may be a tick ahead. */
  return (s32)(tick - flow->seen) <= (s32)lifetime(flow->state, protocol);
}

/* Count a packet and follow the state. A word is written only when it changes: other CPUs read it. */
static __always_inline void touch_flow(struct flow *flow, const struct packet *p, int direction,
                                       u32 length, u32 tick) {
  u8 state = flow->state;
  if (direction != flow->origin) state |= FLOW_REPLIED;
  /* A connection that one end has closed may stay open in the other direction. */
  if (p->tcp_flags & TCP_FIN) state |= direction == flow->origin ? FLOW_FIN : FLOW_REPLY_FIN;
  if ((p->tcp_flags & TCP_RST) || (state & (FLOW_FIN | FLOW_REPLY_FIN)) == (FLOW_FIN | FLOW_REPLY_FIN))
    state |= FLOW_CLOSING;
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
  key->owner = owner_of(p, endpoint);
}
