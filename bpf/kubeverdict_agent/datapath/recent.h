/* Flows that a CPU has seen in this tick.
 *
 * Looking a flow up in its table takes longer than all else that is done about a packet, because it
 * calls functions of the kernel. So it is done once a tick for those of many packets, and again
 * when the policy has changed. Each CPU has its own, and nothing else runs these programs there
 * meanwhile, so nothing is shared. What is counted here is added to the flow when its place is
 * looked at next. */
#pragma once
#include "accounting.h"
#include "conntrack.h"

/* Flows of fewer packets would be put here and not be used. */
#define WORTH_RECALLING 8
/* For so many ticks a flow that the table gave up for newer ones comes back from here. */
#define RECALLED_TICKS 2

#define RECENT_HASH_A 0x9e3779b97f4a7c15ull
#define RECENT_HASH_B 0xc2b2ae3d27d4eb4full

/* Of a packet that changes nothing about its connection. */
static __always_inline bool is_plain(const struct packet *p) {
  return !p->quoted && !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST));
}

/* The only place where the flow of a packet may be. */
static __always_inline struct recent *place_of(const struct packet *p, u32 endpoint) {
  u64 ends = (u64)p->remote[3] << 32 | (u32)p->remote_port << 16 | p->local_port;
  u64 mixed = ends * RECENT_HASH_A ^ ((u64)p->remote[2] << 32 | endpoint) * RECENT_HASH_B;
  u32 place = (mixed * RECENT_HASH_A >> (64 - RECENT_BITS)) << 1 | (p->family == 6);
  return recents.lookup(&place);
}

static __always_inline bool is_of(const struct recent *recent, const struct packet *p,
                                  u32 endpoint) {
  const struct flow6 *key = &recent->key;
  const u64 *kept = (const u64 *)key->local, *asked = (const u64 *)p->local;
  return kept[0] == asked[0] && kept[1] == asked[1] && kept[2] == asked[2] &&
         kept[3] == asked[3] && key->local_port == p->local_port &&
         key->remote_port == p->remote_port && key->whose == whose(p, endpoint);
}

static __always_inline bool is_now(const struct recent *recent, const struct context *c) {
  return recent->tick == c->tick && recent->generation == c->generation;
}

/* Count a packet whose flow has been found to be allowed; false where it has to be looked for. */
static __always_inline bool recall(struct recent *recent, const struct packet *p,
                                   const struct context *c, int direction) {
  if (!is_now(recent, c) || !(recent->directions & 1 << direction) ||
      !is_of(recent, p, c->endpoint))
    return false;
  recent->packets++;
  recent->bytes += c->length;
  return true;
}

/* Add what was counted here to the flow that it is of. */
static __always_inline void hand_over(struct recent *recent, u8 family) {
  if (!recent->packets) return;
  const struct flow6 *from = &recent->key;
  struct flow_key key = {
      .four = {from->local[3], from->remote[3], from->local_port, from->remote_port, from->whose},
      .six = *from,
  };
  struct flow *flow = find_flow(&key, family);
  if (flow) {
    flow->packets += recent->packets;
    flow->bytes += recent->bytes;
  }
  recent->packets = 0;
  recent->bytes = 0;
}

/* Keep an allowed flow that a packet was found to be of, unless another is in use at its place. */
static __always_inline void keep_recent(struct recent *recent, const struct flow *flow,
                                        const struct packet *p, const struct context *c,
                                        int direction) {
  bool same = is_of(recent, p, c->endpoint), now = is_now(recent, c);
  if (now && !same) return;
  if (!now) {
    hand_over(recent, p->family);
    __builtin_memcpy(recent->key.local, p->local, 16);
    __builtin_memcpy(recent->key.remote, p->remote, 16);
    recent->key.local_port = p->local_port;
    recent->key.remote_port = p->remote_port;
    recent->key.whose = whose(p, c->endpoint);
    recent->generation = c->generation;
    recent->tick = c->tick;
    recent->directions = 0;
  }
  recent->directions |= 1 << direction;
  recent->origin = flow->origin;
  recent->state = flow->state;
}

/* A packet that is not plain may change what its flow is: the next one looks for it again. */
static __always_inline void forget_recent(struct recent *recent, const struct packet *p,
                                          const struct context *c) {
  if (p->quoted || !is_of(recent, p, c->endpoint)) return;
  hand_over(recent, p->family);
  recent->tick = 0;
}

/* The flow of a packet, back in the table that had given it up for newer ones though its packets
 * are still coming; to be judged again. NULL where there was none. */
static __always_inline struct flow *bring_back(const struct recent *recent, struct flow_key *key,
                                               const struct packet *p, const struct context *c) {
  if (recent->generation != c->generation || !is_of(recent, p, c->endpoint) ||
      (s32)(c->tick - recent->tick) > RECALLED_TICKS)
    return NULL;
  struct flow flow = {
      .seen = c->tick, .since = c->tick, .origin = recent->origin, .state = recent->state};
  store_flow(key, p->family, &flow);
  return find_flow(key, p->family);
}
