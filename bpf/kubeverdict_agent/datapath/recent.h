/* A cache of the flows that a CPU has seen in this tick; direct-mapped, one for each CPU.
 *
 * Looking a flow up in its hash table takes longer than all other work for a packet, because it
 * calls functions of the kernel. With the cache a busy flow is looked up once a tick, and again when
 * the policy has changed. Nothing else runs these programs on the same CPU meanwhile, so nothing is
 * shared. Packets counted here are added to the flow when its slot is used next. */
#pragma once
#include "accounting.h"
#include "conntrack.h"

/* A flow with fewer packets is not cached: its entry would rarely be used again. */
#define WORTH_CACHING 8
/* For so many ticks a flow that the LRU table evicted can be restored from the cache. */
#define RESTORABLE_TICKS 2

#define RECENT_HASH_A 0x9e3779b97f4a7c15ull
#define RECENT_HASH_B 0xc2b2ae3d27d4eb4full

/* Whether a packet cannot change the state of its connection. */
static __always_inline bool is_plain(const struct packet *p) {
  return !p->quoted && !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST));
}

/* The only slot that may hold the flow of a packet. */
static __always_inline struct recent *cache_slot(const struct packet *p, u32 endpoint) {
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
         key->remote_port == p->remote_port && key->owner == owner_of(p, endpoint);
}

static __always_inline bool is_now(const struct recent *recent, const struct context *c) {
  return recent->tick == c->tick && recent->generation == c->generation;
}

/* Count a packet of a flow that is cached as allowed; false on a cache miss. */
static __always_inline bool count_cached(struct recent *recent, const struct packet *p,
                                   const struct context *c, int direction) {
  if (!is_now(recent, c) || !(recent->directions & 1 << direction) ||
      !is_of(recent, p, c->endpoint))
    return false;
  recent->packets++;
  recent->bytes += c->length;
  return true;
}

/* Add the packets counted in a cache entry to its flow. */
static __always_inline void flush_counts(struct recent *recent, u8 family) {
  if (!recent->packets) return;
  const struct flow6 *from = &recent->key;
  struct flow_key key = {
      .four = {from->local[3], from->remote[3], from->local_port, from->remote_port, from->owner},
      .six = *from,
  };
  struct flow *flow = find_first(&key, family);
  if (!flow) flow = find_crowded(&key, family);
  if (flow) {
    flow->packets += recent->packets;
    flow->bytes += recent->bytes;
  }
  recent->packets = 0;
  recent->bytes = 0;
}

/* Cache an allowed flow after a lookup, unless its slot holds another flow of this tick. */
static __always_inline void cache_flow(struct recent *recent, const struct flow *flow,
                                        const struct packet *p, const struct context *c,
                                        int direction) {
  bool same = is_of(recent, p, c->endpoint), now = is_now(recent, c);
  if (now && !same) return;
  if (!now) {
    flush_counts(recent, p->family);
    __builtin_memcpy(recent->key.local, p->local, 16);
    __builtin_memcpy(recent->key.remote, p->remote, 16);
    recent->key.local_port = p->local_port;
    recent->key.remote_port = p->remote_port;
    recent->key.owner = owner_of(p, c->endpoint);
    recent->generation = c->generation;
    recent->tick = c->tick;
    recent->directions = 0;
  }
  recent->directions |= 1 << direction;
  recent->origin = flow->origin;
  recent->state = flow->state;
}

/* A packet that is not plain may change the state of its flow: the next one must look it up. */
static __always_inline void invalidate(struct recent *recent, const struct packet *p,
                                          const struct context *c) {
  if (p->quoted || !is_of(recent, p, c->endpoint)) return;
  flush_counts(recent, p->family);
  recent->tick = 0;
}

/* Put a flow back into the LRU table that evicted it although its packets still arrive; it is
 * judged again. NULL on a cache miss. */
static __always_inline struct flow *restore_flow(const struct control *control,
                                                 const struct recent *recent,
                                                 struct flow_key *key, const struct packet *p,
                                                 const struct context *c) {
  if (recent->generation != c->generation || !is_of(recent, p, c->endpoint) ||
      (s32)(c->tick - recent->tick) > RESTORABLE_TICKS)
    return NULL;
  struct flow flow = {
      .seen = c->tick, .since = c->tick, .origin = recent->origin, .state = recent->state};
  store_flow(control, key, p->family, c->slot, &flow);
  return find_flow(key, p->family, c->slot);
}
