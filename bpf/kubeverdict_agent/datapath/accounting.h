/* What is counted and reported: every packet by reason, every denial by its ends, and an event for
 * the first denial of a kind, then at most one a tick. */
#pragma once
#include "maps.h"
#include "packet.h"

struct context {
  u32 endpoint, slot, generation, tick, length;
  u8 mode;
};

/* bpf_ktime_get_coarse_ns, which bcc 0.26 does not name. */
static u64 (*const coarse_clock)(void) = (void *)160;

static __always_inline void add(u32 index, u32 length) {
  struct count *count = counts.lookup(&index);
  if (count) {
    count->packets++;
    count->bytes += length;
  }
}

static __always_inline int pass(const struct context *c, int direction, enum reason reason) {
  add((direction * 2 + 0) * REASONS + reason, c->length);
  return TC_ACT_UNSPEC;
}

static __always_inline int drop(const struct context *c, int direction, enum reason reason) {
  add((direction * 2 + 1) * REASONS + reason, c->length);
  return TC_ACT_SHOT;
}

/* What enforcing drops and auditing lets pass. */
static __always_inline int refuse(const struct context *c, int direction, enum reason reason) {
  return c->mode == MODE_ENFORCE ? drop(c, direction, reason) : pass(c, direction, reason);
}

static __always_inline void report(const struct context *c, const struct packet *p, int origin,
                                 u16 decision, enum reason reason, u64 now_ns) {
  struct event *event = events.ringbuf_reserve(sizeof *event);
  if (!event) {
    add(LOST_EVENTS, c->length);
    return;
  }
  event->time_ns = now_ns;
  event->endpoint = c->endpoint;
  event->generation = c->generation;
  __builtin_memcpy(event->local, p->local, 16);
  __builtin_memcpy(event->remote, p->remote, 16);
  event->local_port = p->icmp ? p->icmp : p->local_port;
  event->remote_port = p->icmp ? p->icmp : p->remote_port;
  event->decision = decision;
  event->length = c->length < 0xffff ? c->length : 0xffff;
  event->protocol = p->protocol;
  event->direction = origin;
  event->mode = c->mode;
  event->reason = reason;
  event->tcp_flags = p->tcp_flags;
  event->family = p->family;
  event->pad = 0;
  events.ringbuf_submit(event, 0);
}

/* Account for a packet that policy denies, or would where a condition is not met; ``origin`` is the
 * direction that decided. */
static __always_inline void denied(const struct context *c, const struct packet *p, int origin,
                                   u16 decision, enum reason reason) {
  struct total_key key = {
      .endpoint = c->endpoint,
      .port = origin == EGRESS ? p->remote_port : p->local_port,
      .decision = decision,
      .protocol = p->protocol,
      .direction = origin,
      .mode = c->mode,
      .reason = reason,
      .family = p->family,
  };
  if (p->icmp) key.port = p->icmp;
  /* There may be no ports, or they are those of a client. */
  if (reason >= REASON_BAD_FRAGMENT) key.port = 0;
  __builtin_memcpy(key.remote, p->remote, 16);
  struct total *total = totals.lookup(&key);
  if (total) {
    total->packets++;
    total->bytes += c->length;
    /* The clock is read once a tick: reading it takes longer than everything else here. */
    if (total->reported == c->tick) return;
  }
  u64 now_ns = coarse_clock();
  if (total) {
    total->last_ns = now_ns;
    total->generation = c->generation;
    total->reported = c->tick;
  } else {
    struct total fresh = {.packets = 1,
                          .bytes = c->length,
                          .first_ns = now_ns,
                          .last_ns = now_ns,
                          .generation = c->generation,
                          .reported = c->tick};
    if (totals.update(&key, &fresh) != 0) add(LOST_TOTALS, c->length);
  }
  report(c, p, origin, decision, reason, now_ns);
}

/* What is refused whatever policy says. */
static __always_inline int refuse_unjudged(const struct context *c, const struct packet *p,
                                           int direction, enum reason reason) {
  denied(c, p, direction, NO_DECISION, reason);
  return refuse(c, direction, reason);
}
