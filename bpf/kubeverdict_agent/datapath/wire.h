/* Wire formats and numbers of the protocols that are parsed. */
#pragma once

struct ethernet {
  __be16 destination[3], source[3];
  __be16 type;
};

struct vlan {
  __be16 tag, type;
};

struct ipv4 {
  u8 length : 4, version : 4; /* of the header, in words */
  u8 tos;
  __be16 total, id, fragment;
  u8 ttl, protocol;
  __sum16 checksum;
  __be32 source, destination;
};

struct ipv6 {
  u8 priority : 4, version : 4;
  u8 flow_label[3];
  __be16 payload;
  u8 next, hop_limit;
  __be32 source[4], destination[4];
};

/* Eight bytes, of which the fragment header uses all and the others two. */
struct extension {
  u8 next, length;
  __be16 offset;
  u32 id;
};

struct ports {
  __be16 source, destination;
  u32 rest;
};

struct tcp {
  __be16 source, destination;
  u16 sequence[2], acknowledgment[2];
  u8 offset, flags;
};

struct icmp {
  u8 type, code;
  __sum16 checksum;
  __be16 id, rest;
};

enum {
  ETHERTYPE_IPV4 = 0x0800,
  ETHERTYPE_ARP = 0x0806,
  ETHERTYPE_VLAN = 0x8100,
  ETHERTYPE_IPV6 = 0x86dd,
  ETHERTYPE_QINQ = 0x88a8,

  PROTOCOL_ICMP = 1,
  PROTOCOL_IPIP = 4,
  PROTOCOL_TCP = 6,
  PROTOCOL_UDP = 17,
  PROTOCOL_SIXTOFOUR = 41, /* IPv6 in IP */
  PROTOCOL_GRE = 47,
  PROTOCOL_ICMPV6 = 58,
  PROTOCOL_SCTP = 132,

  HEADER_HOP_BY_HOP = 0,
  HEADER_ROUTING = 43,
  HEADER_FRAGMENT = 44,
  HEADER_AUTHENTICATION = 51,
  HEADER_DESTINATION = 60,

  IPV4_MORE_FRAGMENTS = 0x2000,
  IPV4_FRAGMENT_OFFSET = 0x1fff,
  IPV6_MORE_FRAGMENTS = 0x0001,
  IPV6_FRAGMENT_OFFSET = 0xfff8,

  PORT_VXLAN = 4789,
  PORT_VXLAN_LINUX = 8472, /* Flannel, Cilium */
  PORT_GENEVE = 6081,

  TCP_FIN = 0x01,
  TCP_SYN = 0x02,
  TCP_RST = 0x04,
  TCP_ACK = 0x10,
};

#define TC_ACT_UNSPEC (-1) /* later filters still run */
#define TC_ACT_SHOT 2
