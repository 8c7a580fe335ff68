/* The maps. The agent creates and pins them before it compiles this, with the sizes that it wants;
 * bcc only opens the pins, so the sizes given here do not count. FOLDER is where the pins are. */
#pragma once
#include "layout.h"
#include "policy.h"

#define PINNED(type, key, leaf, name) BPF_TABLE_PINNED(type, key, leaf, name, 1, FOLDER "/" #name)

/* One value: control, then two halves of HALF_BYTES. Its real size would take the compiler minutes
 * to lay out, and the verifier asks the map itself. */
struct arena {
  struct control control;
};
PINNED("array", int, struct arena, arena);

PINNED("array", u32, struct endpoints, endpoints);
PINNED("lru_hash", struct flow4, struct flow, flows4);
PINNED("lru_hash", struct flow6, struct flow, flows6);
PINNED("lru_hash", struct flow4, struct flow, crowded4);
PINNED("lru_hash", struct flow6, struct flow, crowded6);
PINNED("array", u32, struct share, shares);
PINNED("percpu_array", u32, struct recent, recents);
PINNED("lru_hash", struct datagram, struct datagram_verdict, datagrams);
PINNED("percpu_hash", struct total_key, struct total, totals);
PINNED("percpu_array", u32, struct count, counts);

/* The packet at hand. It lies in a map rather than on the stack because the verifier forgets what
 * is written to maps: it then follows what comes after parsing once, not once for each way through
 * the parser. */
struct scratch {
  struct packet packet, quoted;
  struct search search;
};
BPF_PERCPU_ARRAY(scratches, struct scratch, 1);

/* bcc has no macro for a pinned ring; these are the members that it calls. */
struct events_table_t {
  int key;
  u32 leaf;
  void *(*ringbuf_reserve)(u64);
  void (*ringbuf_submit)(void *, u64);
  u32 max_entries;
};
__attribute__((section("maps/ringbuf:" FOLDER "/events"))) struct events_table_t events = {
    .max_entries = PAGE_SIZE};
