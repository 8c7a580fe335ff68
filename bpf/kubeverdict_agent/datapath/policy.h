/* The compiled policy: address -> class, port -> atom, [subject][class] -> row -> decision.
 *
 * Everything lies in one half of the arena. Offsets are masked, so that the verifier knows them to
 * be inside; for a table that is sound the masks change nothing. */
#pragma once
#include "packet.h"

#define IN_HALF(half, type, offset) \
  (*(type *)((half) + ((offset) & (HALF_BYTES - sizeof(type)))))

/* The multipliers of the two buckets that an address may be in; hashing.py has the same. */
#define HASH4_A 0x9e3779b1u
#define HASH4_B 0x85ebca77u
#define HASH6_A 0x9e3779b97f4a7c15ull
#define HASH6_B 0xc2b2ae3d27d4eb4full
#define HASH6_C 0x165667b19e3779f9ull

#define MOST_STEPS 20 /* of a binary search over intervals */

/* The bounds of a binary search, in a map for the reason that struct scratch gives. */
struct search {
  volatile u32 low, high;
};

static __always_inline u32 in_bucket4(u8 *half, u32 bucket, u32 address) {
  u32 at = ((struct tables *)half)->peers4 + bucket * (BUCKET * 8);
#pragma unroll
  for (int i = 0; i < BUCKET; i++) {
    u64 peer = *(u64 *)(half + ((at + i * 8) & (HALF_BYTES - 8)));
    if ((u32)peer == address) return peer >> 32;
  }
  return NO_CLASS;
}

/* Of an address that is known by itself; or NO_CLASS. */
static __always_inline u32 known_ipv4(u8 *half, u32 address) {
  struct tables *tables = (struct tables *)half;
  u32 class = in_bucket4(half, (u32)(address * HASH4_A) >> (tables->shift4 & 31), address);
  if (class != NO_CLASS) return class;
  return in_bucket4(half, (u32)(address * HASH4_B) >> (tables->shift4 & 31), address);
}

static __always_inline u32 class_of_ipv4(u8 *half, struct search *search, u32 address) {
  struct tables *tables = (struct tables *)half;
  u32 class = known_ipv4(half, address);
  if (class != NO_CLASS) return class;

  u32 at = tables->index4 + (address >> 16) * 4;
  search->low = IN_HALF(half, u32, at);
  search->high = IN_HALF(half, u32, at + 4);
  for (int i = 0; i < MOST_STEPS && search->low < search->high; i++) {
    u32 middle = (search->low + search->high + 1) >> 1;
    if (IN_HALF(half, u32, tables->starts4 + middle * 4) <= address)
      search->low = middle;
    else
      search->high = middle - 1;
  }
  return IN_HALF(half, u16, tables->classes4 + search->low * 2);
}

static __always_inline u32 in_bucket6(u8 *half, u32 bucket, u64 high, u64 low) {
  u32 at = ((struct tables *)half)->peers6 + bucket * (BUCKET * sizeof(struct peer6));
#pragma unroll
  for (int i = 0; i < BUCKET; i++) {
    struct peer6 *peer = (void *)(half + ((at + i * sizeof *peer) & (HALF_BYTES - 8)));
    if (peer->low == low && peer->high == high) return peer->class;
  }
  return NO_CLASS;
}

static __always_inline u32 known_ipv6(u8 *half, u64 upper, u64 lower) {
  struct tables *tables = (struct tables *)half;
  u64 mixed = lower ^ upper * HASH6_C;
  u32 class = in_bucket6(half, (mixed * HASH6_A) >> (tables->shift6 & 63), upper, lower);
  if (class != NO_CLASS) return class;
  return in_bucket6(half, (mixed * HASH6_B) >> (tables->shift6 & 63), upper, lower);
}

static __always_inline u32 class_of_ipv6(u8 *half, struct search *search, u64 upper,
                                         u64 lower) {
  struct tables *tables = (struct tables *)half;
  u32 class = known_ipv6(half, upper, lower);
  if (class != NO_CLASS) return class;

  search->low = 0;
  search->high = tables->intervals6 - 1;
  for (int i = 0; i < MOST_STEPS && search->low < search->high; i++) {
    u32 middle = (search->low + search->high + 1) >> 1;
    struct start6 *start =
        (void *)(half + ((tables->starts6 + middle * sizeof *start) & (HALF_BYTES - 8)));
    if (start->high < upper || (start->high == upper && start->low <= lower))
      search->low = middle;
    else
      search->high = middle - 1;
  }
  return IN_HALF(half, u16, tables->classes6 + search->low * 2);
}

static __always_inline u64 upper_of(const u32 *address) {
  return (u64)bpf_ntohl(address[0]) << 32 | bpf_ntohl(address[1]);
}

static __always_inline u64 lower_of(const u32 *address) {
  return (u64)bpf_ntohl(address[2]) << 32 | bpf_ntohl(address[3]);
}

static __always_inline u32 class_of_remote(u8 *half, struct search *search,
                                           const struct packet *p) {
  if (p->family == 4) return class_of_ipv4(half, search, bpf_ntohl(p->remote[3]));
  return class_of_ipv6(half, search, upper_of(p->remote), lower_of(p->remote));
}

/* Whether the remote end, or what is behind it, is a pod that is enforced. */
static __always_inline bool is_guarded(u8 *half, const struct packet *p) {
  u32 class = p->family == 4 ? known_ipv4(half, bpf_ntohl(p->remote[3]))
                             : known_ipv6(half, upper_of(p->remote), lower_of(p->remote));
  return class != NO_CLASS && class & PEER_GUARDED;
}

static __always_inline int numbered(u8 protocol) {
  return protocol == PROTOCOL_TCP    ? 0
         : protocol == PROTOCOL_UDP  ? 1
         : protocol == PROTOCOL_SCTP ? 2
                                     : -1;
}

static __always_inline u32 atom_of(u8 *half, u8 protocol, u8 family, u16 port) {
  struct tables *tables = (struct tables *)half;
  int number = numbered(protocol);
  if (number >= 0) return IN_HALF(half, u16, tables->ports + (number * 65536 + port) * 2);
  if (protocol == (family == 6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP)) return tables->atom_icmp;
  return tables->atom_other;
}

static __always_inline u16 decision(u8 *half, const struct local *local, int origin, u32 class,
                                    u32 atom) {
  struct tables *tables = (struct tables *)half;
  u32 cells = origin == EGRESS ? tables->cells[EGRESS] : tables->cells[INGRESS];
  u32 subject = origin == EGRESS ? local->subject[EGRESS] : local->subject[INGRESS];
  u32 row = IN_HALF(half, u16, cells + (subject * tables->peers + (class & PEER_CLASS)) * 2);
  return IN_HALF(half, u16, tables->rows + (row * tables->atoms + atom) * 2);
}

/* What the judgement of a packet needs, looked up once. */
struct judge {
  u8 *half;
  const struct local *local;
  u32 class; /* of the remote end, and its flags */
  bool own;  /* whether that is a socket of the node, or may be */
};

/* The decision on a connection that began in direction ``origin``. */
static __always_inline u16 verdict_on(const struct judge *j, const struct packet *p, int origin) {
  if (origin == INGRESS && j->own) return ((struct tables *)j->half)->own_node;
  u16 port = origin == EGRESS ? p->remote_port : p->local_port;
  u32 atom = atom_of(j->half, p->protocol, p->family, port);
  return decision(j->half, j->local, origin, j->class, atom);
}

/* Whether a decision that allows does so under a condition only. */
static __always_inline bool depends(const struct judge *j, u16 verdict) {
  return (verdict & DECISION_RULE) >= ((struct tables *)j->half)->conditional;
}

/* Whether policy allows any connection of a protocol between the ends, in either direction; ``atom``
 * is that of some port. */
static __always_inline bool may_talk_by(const struct judge *j, u32 atom) {
  return (decision(j->half, j->local, EGRESS, j->class, atom) |
          decision(j->half, j->local, INGRESS, j->class, atom)) &
         DECISION_ALLOWS;
}

/* The same for the protocol of a later fragment. In IPv6 that may be of a header before it, and
 * then it is not known. */
static __always_inline bool may_talk(const struct judge *j, const struct packet *p) {
  struct tables *tables = (struct tables *)j->half;
  if (j->own) return true;
  int number = numbered(p->protocol);
  if (number >= 0) return may_talk_by(j, tables->any + number);
  if (p->family == 6 && is_extension(p->protocol))
    return may_talk_by(j, tables->any) || may_talk_by(j, tables->any + 1) ||
           may_talk_by(j, tables->any + 2) || may_talk_by(j, tables->atom_icmp) ||
           may_talk_by(j, tables->atom_other);
  return may_talk_by(j, atom_of(j->half, p->protocol, p->family, 0));
}
