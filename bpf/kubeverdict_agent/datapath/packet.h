/* From bytes to the ends of a connection, as the local pod sees them. */
#pragma once
#include "layout.h"
#include "wire.h"

struct packet {
  u32 local[4], remote[4]; /* network order; IPv4 as ::ffff:a.b.c.d */
  u16 local_port, remote_port; /* host order; of an ICMP query its id, both */
  u16 icmp;                    /* type << 8 | code */
  u8 protocol, family, tcp_flags;
  u8 later;   /* a fragment that is not the first */
  u8 first;   /* the first of several */
  u32 id;     /* of the datagram that the fragment is of */
  u32 quoted; /* where an ICMP error quotes the packet that it is about */
};

enum parsed { PARSED, NEIGHBOUR, MALFORMED, UNSUPPORTED };

#define MOST_HEADERS 6
#define HEADERS 128 /* bytes that hold the headers of all but strange packets */

/* The packet, and the part of it that lies in one piece. */
struct cursor {
  struct __sk_buff *skb;
  void *data, *end;
};

/* Read what ``to`` points to from offset ``at``; false where the packet ends before. ``usual`` is
 * a constant: where it lies in most packets (0: nowhere), read without a call. Besides being fast
 * this keeps the verifier from following every sum of lengths that ``at`` may be. */
#define LOAD(cursor, at, usual, to)                                                       \
  ({                                                                                      \
    bool read_ = (usual) && (at) == (usual) &&                                            \
                 (cursor)->data + (usual) + sizeof *(to) <= (cursor)->end;                \
    if (read_)                                                                            \
      *(to) = *(typeof(to))((cursor)->data + (usual));                                    \
    else                                                                                  \
      read_ = bpf_skb_load_bytes((cursor)->skb, (at), (to), sizeof *(to)) == 0;           \
    read_;                                                                                \
  })

static __always_inline bool is_query(u8 family, u8 type) {
  if (family == 6) return type == 128 || type == 129;
  return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

static __always_inline bool is_error(u8 family, u8 type) {
  if (family == 6) return type >= 1 && type <= 4;
  return type == 3 || type == 11 || type == 12;
}

#define MOST_OPTIONS 16 /* of a message of neighbour discovery */

/* Whether options fill a message of neighbour discovery, which ends at ``end``, behind its fixed
 * part: each says its length in units of eight bytes, never zero (RFC 4861, 4.6). */
static __always_inline bool is_filled(const struct cursor *cursor, u32 at, u32 end, u8 type) {
  at += type == 133 ? 8 : type == 134 ? 16 : type == 137 ? 40 : 24;
  for (int i = 0; i < MOST_OPTIONS && at < end; i++) {
    struct {
      u8 type, length;
    } option;
    if (!LOAD(cursor, at, 0, &option) || !option.length) return false;
    at += option.length * 8;
  }
  return at == end;
}

/* Neighbour and listener discovery: without them IPv6 does not work at all. Both are valid with
 * one hop limit only (RFC 4861, RFC 3810), so that they come from this link; is_near says whether
 * they stay on it. */
static __always_inline bool is_discovery(const struct cursor *cursor, u32 at, u32 end,
                                         const struct icmp *icmp, u8 hop_limit) {
  if (icmp->type >= 133 && icmp->type <= 137)
    return hop_limit == 255 && icmp->code == 0 && is_filled(cursor, at, end, icmp->type);
  return ((icmp->type >= 130 && icmp->type <= 132) || icmp->type == 143) && hop_limit == 1;
}

/* ``direction`` is that of the packet, ``end`` where it ends, ``quote``: it is quoted by an ICMP
 * error, which promises eight bytes of transport header only. */
static __always_inline enum parsed transport(const struct cursor *cursor, u32 at, const u32 usual,
                                             int direction, bool quote, u32 end, u8 hop_limit,
                                             struct packet *p) {
  __be16 source, destination;
  if (p->later) return PARSED;
  if (p->protocol == PROTOCOL_TCP && !quote) {
    struct tcp tcp;
    if (!LOAD(cursor, at, usual, &tcp)) return MALFORMED;
    source = tcp.source;
    destination = tcp.destination;
    p->tcp_flags = tcp.flags;
  } else if (p->protocol == PROTOCOL_TCP || p->protocol == PROTOCOL_UDP ||
             p->protocol == PROTOCOL_SCTP) {
    struct ports ports; /* of all three, the first eight bytes */
    if (!LOAD(cursor, at, usual, &ports)) return MALFORMED;
    source = ports.source;
    destination = ports.destination;
  } else if (p->protocol == (p->family == 6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP)) {
    struct icmp icmp;
    if (!LOAD(cursor, at, usual, &icmp)) return MALFORMED;
    p->icmp = icmp.type << 8 | icmp.code;
    if (p->family == 6 && !quote && is_discovery(cursor, at, end, &icmp, hop_limit))
      return NEIGHBOUR;
    if (is_error(p->family, icmp.type)) p->quoted = at + sizeof icmp;
    if (!is_query(p->family, icmp.type)) return PARSED;
    source = destination = icmp.id;
  } else {
    return PARSED;
  }
  p->local_port = bpf_ntohs(direction == EGRESS ? source : destination);
  p->remote_port = bpf_ntohs(direction == EGRESS ? destination : source);
  return PARSED;
}

#define USUAL_IP sizeof(struct ethernet)

static __always_inline enum parsed parse_ipv4(const struct cursor *cursor, u32 at, int direction,
                                              bool quote, struct packet *p) {
  struct ipv4 ip;
  if (!LOAD(cursor, at, quote ? 0 : USUAL_IP, &ip)) return MALFORMED;
  u32 length = ip.length * 4;
  /* The length of a packet that is larger than the field, which only segmentation offload makes
   * (BIG TCP), is zero. */
  bool big = ip.total == 0 && cursor->skb->len > 0xffff;
  if (ip.version != 4 || length < sizeof ip || (bpf_ntohs(ip.total) < length && !big))
    return MALFORMED;
  p->family = 4;
  p->protocol = ip.protocol;
  p->local[2] = p->remote[2] = bpf_htonl(0xffff);
  p->local[3] = direction == EGRESS ? ip.source : ip.destination;
  p->remote[3] = direction == EGRESS ? ip.destination : ip.source;
  u16 fragment = bpf_ntohs(ip.fragment);
  p->later = (fragment & IPV4_FRAGMENT_OFFSET) != 0;
  p->first = !p->later && (fragment & IPV4_MORE_FRAGMENTS) != 0;
  p->id = ip.id;
  return transport(cursor, at + length, quote ? 0 : USUAL_IP + sizeof ip, direction, quote, 0, 0,
                   p);
}

static __always_inline bool is_extension(u8 next) {
  return next == HEADER_HOP_BY_HOP || next == HEADER_ROUTING || next == HEADER_DESTINATION ||
         next == HEADER_AUTHENTICATION || next == HEADER_FRAGMENT;
}

static __always_inline enum parsed parse_ipv6(const struct cursor *cursor, u32 at, int direction,
                                              bool quote, struct packet *p) {
  struct ipv6 ip;
  if (!LOAD(cursor, at, quote ? 0 : USUAL_IP, &ip)) return MALFORMED;
  if (ip.version != 6) return MALFORMED;
  p->family = 6;
  __builtin_memcpy(direction == EGRESS ? p->local : p->remote, ip.source, 16);
  __builtin_memcpy(direction == EGRESS ? p->remote : p->local, ip.destination, 16);
  at += sizeof ip;
  u32 end = at + bpf_ntohs(ip.payload);
  u8 next = ip.next;
  for (int i = 0; i < MOST_HEADERS && is_extension(next); i++) {
    struct extension extension;
    if (!LOAD(cursor, at, 0, &extension)) return MALFORMED;
    if (next == HEADER_FRAGMENT) {
      u16 offset = bpf_ntohs(extension.offset);
      p->later = (offset & IPV6_FRAGMENT_OFFSET) != 0;
      p->first = !p->later && (offset & IPV6_MORE_FRAGMENTS) != 0;
      p->id = extension.id;
      ip.hop_limit = 0; /* discovery is never fragmented (RFC 6980) */
      at += sizeof extension;
    } else {
      at += next == HEADER_AUTHENTICATION ? (extension.length + 2) * 4 : (extension.length + 1) * 8;
    }
    next = extension.next;
    /* What follows the headers of a later fragment is payload. */
    if (p->later) break;
  }
  p->protocol = next;
  if (!p->later && is_extension(next)) return MALFORMED;
  return transport(cursor, at, quote ? 0 : USUAL_IP + sizeof ip, direction, quote, end,
                   ip.hop_limit, p);
}

static __always_inline enum parsed parse(const struct cursor *cursor, int direction,
                                         struct packet *p) {
  u32 at = sizeof(struct ethernet);
  if (cursor->data + sizeof(struct ethernet) > cursor->end) return MALFORMED;
  u16 type = ((struct ethernet *)cursor->data)->type;
  for (int i = 0; i < 2; i++) {
    if (type != bpf_htons(ETHERTYPE_VLAN) && type != bpf_htons(ETHERTYPE_QINQ)) break;
    struct vlan vlan;
    if (!LOAD(cursor, at, 0, &vlan)) return MALFORMED;
    type = vlan.type;
    at += sizeof vlan;
  }
  if (type == bpf_htons(ETHERTYPE_IPV4)) return parse_ipv4(cursor, at, direction, false, p);
  if (type == bpf_htons(ETHERTYPE_IPV6)) return parse_ipv6(cursor, at, direction, false, p);
  return type == bpf_htons(ETHERTYPE_ARP) ? NEIGHBOUR : UNSUPPORTED;
}

/* The packet that an ICMP error quotes. It went the other way. */
static __always_inline bool parse_quoted(const struct cursor *cursor, int direction,
                                         const struct packet *error, struct packet *quoted) {
  enum parsed parsed = error->family == 6
                           ? parse_ipv6(cursor, error->quoted, !direction, true, quoted)
                           : parse_ipv4(cursor, error->quoted, !direction, true, quoted);
  return parsed == PARSED && !quoted->later;
}
