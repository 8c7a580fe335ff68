/* What the kernel and the agent share: sizes, numbers and structs. layout.py mirrors this file and
 * every compilation asserts that the two agree. */
#pragma once

#define SLOTS 1024
#define PAGE_BYTES 4096
#define HALF_BYTES (8u << 20)
/* Control, two halves, and an unused page, for reads past a masked offset. */
#define ARENA_BYTES (PAGE_BYTES + 2 * HALF_BYTES + PAGE_BYTES)
#define BUCKET 4 /* addresses that share a bucket of the table of peers */

/* Interfaces are found by their index in a table of INTERFACES sets of WAYS. */
#define INTERFACES 16384
#define WAYS 4

enum direction { INGRESS, EGRESS }; /* as the local pod sees it */

enum mode { MODE_OFF, MODE_AUDIT, MODE_ENFORCE };

enum { /* control.flags */
  UNKNOWN_CLOSED = 1, /* drop what belongs to no endpoint that is known */
  STATELESS = 2,      /* judge each packet alone: for proofs and comparisons */
  ALLOW_ENCAPSULATION = 4, /* pods may tunnel to nodes */
};

enum { /* decision: a rule number and, in the top bit, whether it allows */
  DECISION_ALLOWS = 0x8000,
  DECISION_RULE = 0x7fff,
  NO_DECISION = DECISION_RULE, /* of what policy is not asked about */
};

enum { /* of an address that is known by itself: its class of peers, and above it what it is of */
  PEER_CLASS = 0xffff,
  PEER_OWN = 0x10000,     /* the node, whose own sockets reach its pods */
  PEER_NODE = 0x20000,    /* some node */
  PEER_GUARDED = 0x40000, /* a pod that is enforced, or a Service with such a backend */
};

enum reason { /* why a packet went through */
  REASON_FLOW,      /* of a connection that is known and allowed */
  REASON_POLICY,    /* policy allows it */
  REASON_RELATED,   /* an ICMP error about such a connection */
  REASON_NEIGHBOUR, /* ARP, neighbour and listener discovery */
  REASON_FRAGMENT,  /* a later fragment of a packet that went through */
  REASON_UNKNOWN,   /* of no endpoint that is known; also where it is dropped */
  REASON_CONDITIONAL, /* policy allows it under a condition that the datapath cannot see */
  /* why it did not, or would not have */
  REASON_DENIED,      /* policy denies it */
  REASON_REVOKED,     /* of a connection that policy allows no longer */
  REASON_NO_FLOW,     /* TCP in the middle of a connection that is not known, and not allowed */
  REASON_MASQUERADED, /* policy denies what the node forwards under its own address */
  /* and without asking policy */
  REASON_ENCAPSULATED, /* a tunnel from a pod to a node */
  REASON_BAD_FRAGMENT, /* a later fragment whose first did not go through */
  REASON_MALFORMED,   /* cannot be parsed */
  REASON_UNSUPPORTED, /* neither IP nor what IP needs */
  REASON_SPOOFED,     /* from an address that is not the pod's */
  REASON_FLOODED,     /* to an address that is not the pod's; also where it passes */
  REASONS,
};

enum { /* flow.state */
  FLOW_REPLIED = 1,
  FLOW_ADOPTED = 2, /* older than the agent */
  FLOW_FIN = 4, /* from the end that began it */
  FLOW_REPLY_FIN = 8,
  FLOW_CLOSING = 16,
  FLOW_RESET = 32,    /* by the last packet */
  FLOW_OWN_NODE = 64, /* begun by a socket of the node */
};

enum { /* how long a flow is remembered after its last packet, in ticks of about a second; of one
          that has had a reply struct control says it */
  NO_REPLY_TICKS = 60,
  CLOSING_TICKS = 30,
};

/* The first page of the arena. */
struct control {
  u64 generation; /* of the tables in force, which lie in half (generation & 1); 0: none yet */
  u32 flags;
  u32 tick;       /* of the last packet: the agent cannot read jiffies */
  u32 layout;     /* what layout.py makes of this file: tables of another layout are not read */
  u32 tcp_idle, other_idle; /* ticks for which idle connections are remembered */
  u32 share;      /* of the table of flows that each pod has */
};

/* How a local pod is judged, by slot. */
struct local {
  u16 subject[2]; /* by direction: row of the table of peers */
  u8 mode;
  u8 present;
  u16 pad;
  u32 ipv4;    /* its addresses, network order; 0: none of the family */
  u32 ipv6[4];
};

/* The start of a half: where in it what lies. Offsets are in bytes from its start. */
struct tables {
  u32 generation;
  u32 used;        /* bytes */
  u32 locals;      /* struct local[SLOTS] */
  u32 ports;       /* u16[3 * 65536]: atom by protocol (TCP, UDP, SCTP) and port */
  u32 atom_icmp, atom_other;
  u32 any;         /* atoms any, any + 1, any + 2: some port of TCP, UDP, SCTP */
  u32 peers4;      /* u64[4 << bits]: address, class and flags << 32 */
  u32 shift4;      /* 32 - bits */
  u32 peers6;      /* struct peer6[4 << bits] */
  u32 shift6;      /* 64 - bits */
  u32 index4;      /* u32[65537]: interval that holds the first address of each /16 */
  u32 starts4;     /* u32[]: first address of each interval, ascending from 0 */
  u32 classes4;    /* u16[]: its class */
  u32 starts6;     /* struct start6[] */
  u32 classes6;    /* u16[] */
  u32 intervals6;
  u32 cells[2];    /* by direction, u16[subjects * peers]: row */
  u32 peers;       /* classes of peers */
  u32 rows;        /* u16[rows * atoms]: decision */
  u32 atoms;
  u32 conditional; /* decisions that allow, from this rule number on, do so under a condition */
  u32 own_node;    /* the decision on what the node's own sockets send */
  u32 guarded;     /* whether some address is PEER_GUARDED */
};

struct peer6 {
  u64 high, low; /* host order */
  u64 class;     /* and flags; NO_CLASS: empty */
};

struct start6 {
  u64 high, low;
};

#define NO_CLASS 0xffffffffu

/* What is behind an interface. */
struct endpoint {
  u32 ifindex; /* 0: nothing */
  u32 number;  /* 24 bits; the same number is not given to another pod while its flows may live */
  u32 slot;
  u32 pad;
};

/* A cache line: the interfaces whose indices are the same modulo INTERFACES. A hash map would take
 * 20 ns more a packet. */
struct endpoints {
  struct endpoint way[WAYS];
};

struct flow4 {
  u32 local, remote; /* network order */
  u16 local_port, remote_port;
  u32 owner; /* endpoint << 8 | protocol */
};

struct flow6 {
  u32 local[4], remote[4];
  u16 local_port, remote_port;
  u32 owner;
};

struct flow {
  u32 generation; /* of the tables that judged it */
  u32 seen;       /* tick of the last packet, written when it changes */
  u64 packets, bytes;
  u32 since;      /* tick of the first */
  u16 decision;   /* that denies: enforcing, what stays of a revoked connection; auditing, one that
                     would be denied */
  u8 origin;      /* direction of its first packet */
  u8 state;
};

/* How much of the table of flows a pod takes, by slot. Beyond its share its flows are in a second
 * table, with those of others that have more than theirs: none of them pushes out flows of a pod
 * that keeps to its share. */
struct share {
  u32 held;    /* flows in the first table; the agent counts anew, since expired ones stay */
  u32 crowded; /* whether flows of the pod may be in the second one */
};

/* A flow that a CPU has seen, in a table of 2 << RECENT_BITS with places for both families. */
#define RECENT_BITS 11
struct recent {
  struct flow6 key; /* IPv4 as in struct packet */
  u64 bytes;        /* not counted in the flow yet, like packets */
  u32 packets;
  u32 generation; /* of the tables that allow it */
  u32 tick;       /* of the last look into the table of flows; 0: it has to be done again */
  u8 directions;  /* of packets since, as bits */
  u8 origin, state, pad;
};

/* Which packet a fragment belongs to. */
struct datagram {
  u32 source[4], destination[4];
  u32 id;
  u32 owner;
};

/* Whether its first fragment passed. */
struct datagram_verdict {
  u32 tick;
  u32 passed;
};

struct total_key {
  u32 remote[4];
  u32 endpoint;
  u16 port; /* the destination's, host order; ICMP: type << 8 | code */
  u16 decision;
  u8 protocol, direction, mode, reason;
  u32 family;
};

struct total {
  u64 packets, bytes;
  u64 first_ns, last_ns; /* the last to a tick */
  u32 generation; /* that named the decision last */
  u32 reported;       /* tick of the last event */
};

struct event {
  u64 time_ns;
  u32 endpoint, generation;
  u32 local[4], remote[4];
  u16 local_port, remote_port; /* host order; ICMP: type << 8 | code in both */
  u16 decision, length;
  u8 protocol, direction, mode, reason;
  u8 tcp_flags, family;
  u16 pad;
};

struct count {
  u64 packets, bytes;
};

/* The counters: [direction][dropped][reason], and after them what was lost. */
#define COUNTERS (2 * 2 * REASONS)
#define LOST_EVENTS COUNTERS
#define LOST_TOTALS (COUNTERS + 1)
#define COUNTS (COUNTERS + 2)
