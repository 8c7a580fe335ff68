/* Ways to look a policy up, on one frame: our parser, then the remote end and port of the next
 * tuple of a list instead of the packet's own, then one of the lookups. So that they are compared
 * and not the programs around them, all judge traffic to one pod, without connections. */
#include "layout.h"
#include "maps.h"
#include "packet.h"
#include "policy.h"

#define MOST_PORTS 128 /* port ranges of a CIDR, as the AWS agent has it */

struct tuple {
  u32 remote; /* network order */
  u16 port;   /* host order */
  u8 protocol, pad;
};

struct turn {
  u32 next, mask; /* mask 0: always the first tuple */
};

struct prefix4 {
  u32 length, address;
};

struct policy_key {
  u32 length; /* bits of what follows: identity 32, protocol 8, pad 8, port 16 */
  u32 identity;
  u8 protocol, pad;
  u16 port; /* network order */
};

struct port_range {
  u32 protocol, first, last;
};

struct port_list {
  u32 count, pad;
  struct port_range ranges[MOST_PORTS];
};

PINNED("array", u32, struct tuple, tuples);
PINNED("array", u32, struct turn, turns);
PINNED("lpm_trie", struct prefix4, u32, identities);
PINNED("lpm_trie", struct policy_key, u32, policies);
PINNED("lpm_trie", struct prefix4, struct port_list, lists);

enum design { NOTHING, OURS, IDENTITIES, CIDRS };

static __always_inline bool by_identity(const struct packet *p) {
  struct prefix4 address = {32, p->remote[3]};
  u32 *identity = identities.lookup(&address);
  struct policy_key key = {
      .length = 64, .identity = identity ? *identity : 0, .protocol = p->protocol,
      .port = bpf_htons(p->local_port)};
  if (identity && policies.lookup(&key)) return true;
  /* Rules that name no peer are filed under identity 0. */
  key.identity = 0;
  return policies.lookup(&key) != NULL;
}

static __always_inline bool by_cidr(const struct packet *p) {
  struct prefix4 address = {32, p->remote[3]};
  struct port_list *list = lists.lookup(&address);
  if (!list) return false;
  for (int i = 0; i < MOST_PORTS; i++) {
    if (i >= list->count) return false;
    struct port_range *range = &list->ranges[i];
    if ((range->protocol == 0 || range->protocol == p->protocol) &&
        p->local_port >= range->first && p->local_port <= range->last)
      return true;
  }
  return false;
}

static __always_inline int judge(struct __sk_buff *skb, enum design design) {
  int zero = 0;
  u32 index = 0;
  u8 *base = (u8 *)arena.lookup(&zero);
  struct scratch *scratch = scratches.lookup(&zero);
  struct turn *turn = turns.lookup(&index);
  if (!base || !scratch || !turn) return -1;
  u8 *half = base + PAGE_BYTES + (((struct control *)base)->generation & 1) * HALF_BYTES;
  struct local *local =
      (struct local *)(half + (((struct tables *)half)->locals & (HALF_BYTES - 4)));

  struct cursor cursor = {skb, (void *)(long)skb->data, (void *)(long)skb->data_end};
  struct packet *p = &scratch->packet;
  __builtin_memset(p, 0, sizeof *p);
  if (parse(&cursor, INGRESS, p) != PARSED) return -1;
  index = turn->next++ & turn->mask;
  struct tuple *tuple = tuples.lookup(&index);
  if (!tuple) return -1;
  p->remote[3] = tuple->remote;
  p->local_port = tuple->port;
  p->protocol = tuple->protocol;

  if (design == OURS) {
    struct judge j = {half, local, class_of_remote(half, &scratch->search, p)};
    return (verdict_on(&j, p, INGRESS) & DECISION_ALLOWS) != 0;
  }
  if (design == IDENTITIES) return by_identity(p);
  if (design == CIDRS) return by_cidr(p);
  return tuple->pad;
}

int nothing(struct __sk_buff *skb) { return judge(skb, NOTHING); }

int ours(struct __sk_buff *skb) { return judge(skb, OURS); }

int identity(struct __sk_buff *skb) { return judge(skb, IDENTITIES); }

int cidr(struct __sk_buff *skb) { return judge(skb, CIDRS); }
