// Traffic between two pods: a server, and clients that measure. One process a role.
//
//   traffic serve TCP UDP DENIED        echo or swallow on TCP, count datagrams on two UDP ports
//   traffic rr     HOST TCP SECONDS CONNECTIONS   request and response, one byte each way
//   traffic crr    HOST TCP SECONDS               connect, request, response, reset
//   traffic stream HOST TCP SECONDS               as many bytes as go through
//   traffic udp    HOST UDP SECONDS SIZE          as many datagrams as go through
//   traffic flood  HOST UDP SECONDS RATE          datagrams at a rate, each from another port;
//                                                 SIGTERM ends it early
//   traffic count  HOST UDP                       datagrams since the last count: both UDP ports
//   traffic pulse  HOST UDP SECONDS RATE SOURCE   the same as flood from any address; each datagram
//                                                 holds its number and when it was sent
//
// A client prints one line of numbers. bench/traffic/__init__.py knows what they mean.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 4096, BATCH = 64, CHUNK = 1 << 17 };
// The first byte of a connection or datagram says what is wanted.
enum { ECHO = 'e', SWALLOW = 's', COUNT = 'c', DATA = 'd' };

static char buffer[CHUNK];
static volatile sig_atomic_t ended; // asked to end: a flood then prints what it sent

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void end_now(int signal)
{
	(void)signal;
	ended = 1;
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		fprintf(stderr, "%s is no IPv4 address\n", host);
		exit(2);
	}
	return a;
}

static void no_delay(int fd)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int bound(int kind, const char *port)
{
	int on = 1, room = 1 << 25, fd = socket(AF_INET, kind | SOCK_NONBLOCK, 0);
	struct sockaddr_in a = address("0.0.0.0", port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (kind == SOCK_DGRAM)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	if (bind(fd, (void *)&a, sizeof a) < 0)
		fail("bind");
	if (kind == SOCK_STREAM && listen(fd, 4096) < 0)
		fail("listen");
	return fd;
}

static void watch(int poll, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0)
		fail("epoll_ctl");
}

// --- the server ------------------------------------------------------------------------------

static char mode[MAX_FDS];
static uint64_t swallowed[MAX_FDS];

static void serve_connection(int fd)
{
	ssize_t size = read(fd, buffer, sizeof buffer);
	if (size <= 0) {
		if (mode[fd] == SWALLOW && size == 0)
			(void)!write(fd, &swallowed[fd], sizeof swallowed[fd]);
		if (size < 0 && errno == EAGAIN)
			return;
		close(fd);
		return;
	}
	if (!mode[fd])
		mode[fd] = buffer[0];
	swallowed[fd] += size;
	if (mode[fd] == ECHO && write(fd, buffer, size) < 0)
		close(fd);
}

static void serve_datagrams(int fd, int own, uint64_t counts[2])
{
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_in from;
		socklen_t length = sizeof from;
		ssize_t size = recvfrom(fd, buffer, sizeof buffer, 0, (void *)&from, &length);
		if (size < 0)
			return;
		if (buffer[0] == COUNT) {
			sendto(fd, counts, 2 * sizeof *counts, 0, (void *)&from, length);
			counts[0] = counts[1] = 0;
		} else {
			counts[own]++;
		}
	}
}

static void serve(char **ports)
{
	int tcp = bound(SOCK_STREAM, ports[0]), poll = epoll_create1(0);
	int udp[2] = {bound(SOCK_DGRAM, ports[1]), bound(SOCK_DGRAM, ports[2])};
	uint64_t counts[2] = {0, 0};
	struct epoll_event events[BATCH];

	watch(poll, tcp);
	watch(poll, udp[0]);
	watch(poll, udp[1]);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(poll, events, BATCH, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd == tcp) {
				while ((fd = accept4(tcp, 0, 0, SOCK_NONBLOCK)) >= 0) {
					if (fd >= MAX_FDS) {
						close(fd);
						continue;
					}
					mode[fd] = 0;
					swallowed[fd] = 0;
					no_delay(fd);
					watch(poll, fd);
				}
			} else if (fd == udp[0] || fd == udp[1]) {
				serve_datagrams(fd, fd == udp[1], counts);
			} else {
				serve_connection(fd);
			}
		}
	}
}

// --- latencies: a histogram with 32 steps in each power of two -------------------------------

enum { STEPS = 32, BUCKETS = 64 * STEPS };
static uint64_t histogram[BUCKETS], samples;

static void sample(uint64_t ns)
{
	int power = ns < STEPS ? 5 : 63 - __builtin_clzll(ns);
	int step = ns < STEPS ? (int)ns : (int)(ns >> (power - 5)) - STEPS;
	histogram[(power - 5) * STEPS + step + (ns < STEPS ? 0 : STEPS)]++;
	samples++;
}

static double percentile(double part)
{
	uint64_t seen = 0, wanted = samples * part;
	for (int i = 0; i < BUCKETS; i++) {
		seen += histogram[i];
		if (seen > wanted) {
			if (i < STEPS)
				return i * 1e-3;
			int power = i / STEPS - 1;
			return (double)((uint64_t)(STEPS + i % STEPS) << power) * 1e-3;
		}
	}
	return 0;
}

// --- the clients -----------------------------------------------------------------------------

static int connected(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (void *)to, sizeof *to) < 0)
		fail("connect");
	no_delay(fd);
	return fd;
}

static void rr(const struct sockaddr_in *to, double seconds, int connections)
{
	static uint64_t asked[MAX_FDS];
	int poll = epoll_create1(0), fds[connections];
	char byte = ECHO;
	struct epoll_event events[BATCH];
	uint64_t begin, end, t = 0;

	for (int i = 0; i < connections; i++)
		watch(poll, fds[i] = connected(to));
	begin = now();
	end = begin + seconds * 1e9;
	for (int i = 0; i < connections; i++) {
		asked[fds[i]] = now();
		if (write(fds[i], &byte, 1) != 1)
			fail("write");
	}
	while (t < end) {
		int n = epoll_wait(poll, events, BATCH, 1000);
		if (n <= 0) {
			fprintf(stderr, "no answer for a second\n");
			exit(1);
		}
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (read(fd, &byte, 1) != 1)
				fail("read");
			t = now();
			sample(t - asked[fd]);
			asked[fd] = t;
			if (write(fd, &byte, 1) != 1)
				fail("write");
		}
	}
	printf("%.1f %.2f %.2f %.2f\n", samples / ((t - begin) * 1e-9), percentile(0.5),
	       percentile(0.99), percentile(0.999));
}

static void crr(const struct sockaddr_in *to, double seconds)
{
	struct linger reset = {1, 0};
	uint64_t begin = now(), end = begin + seconds * 1e9, t = begin;

	while (t < end) {
		char byte = ECHO;
		int fd = connected(to);
		// A reset leaves nothing in TIME_WAIT, so ports do not run out.
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
			fail("request");
		close(fd);
		uint64_t done = now();
		sample(done - t);
		t = done;
	}
	printf("%.1f %.2f %.2f %.2f\n", samples / ((t - begin) * 1e-9), percentile(0.5),
	       percentile(0.99), percentile(0.999));
}

static void stream(const struct sockaddr_in *to, double seconds)
{
	int fd = connected(to);
	uint64_t begin = now(), end = begin + seconds * 1e9, total = 0;

	memset(buffer, SWALLOW, sizeof buffer);
	while (now() < end)
		if (write(fd, buffer, sizeof buffer) < 0)
			fail("write");
	shutdown(fd, SHUT_WR);
	if (read(fd, &total, sizeof total) != sizeof total)
		fail("total");
	printf("%.1f\n", total / ((now() - begin) * 1e-9));
}

static void counted(int fd, uint64_t counts[2])
{
	char byte = COUNT;
	struct timeval patience = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	for (int attempt = 0; attempt < 10; attempt++)
		if (send(fd, &byte, 1, 0) == 1 &&
		    recv(fd, counts, 2 * sizeof *counts, 0) == 2 * sizeof *counts)
			return;
	fprintf(stderr, "the server does not count\n");
	exit(1);
}

static int datagram_socket(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (connect(fd, (void *)to, sizeof *to) < 0)
		fail("connect");
	return fd;
}

static void udp(const struct sockaddr_in *to, double seconds, int size)
{
	int fd = datagram_socket(to);
	struct mmsghdr batch[BATCH] = {0};
	struct iovec part = {buffer, size};
	uint64_t counts[2], sent = 0, begin, end, t;

	memset(buffer, DATA, sizeof buffer);
	for (int i = 0; i < BATCH; i++)
		batch[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
	counted(fd, counts);
	begin = t = now();
	for (end = begin + seconds * 1e9; t < end; t = now()) {
		int n = sendmmsg(fd, batch, BATCH, 0);
		if (n > 0)
			sent += n;
	}
	usleep(50000);
	counted(fd, counts);
	printf("%.1f %.1f\n", sent / ((t - begin) * 1e-9), counts[0] / ((t - begin) * 1e-9));
}

// Raw datagrams: each is a connection of its own to whoever tracks connections.
static void flood(const struct sockaddr_in *to, double seconds, double rate)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
	struct {
		struct udphdr header;
		char data;
	} __attribute__((packed)) packet = {.data = DATA};
	struct sockaddr_in bare = *to;
	uint64_t begin = now(), end = begin + seconds * 1e9, sent = 0, refused = 0;
	uint16_t port = getpid();

	if (fd < 0)
		fail("raw socket");
	bare.sin_port = 0;
	packet.header.dest = to->sin_port;
	packet.header.len = htons(sizeof packet);
	for (uint64_t t = begin; t < end && !ended; t = now()) {
		uint64_t due = (t - begin) * 1e-9 * rate;
		if (sent + refused >= due) {
			struct timespec nap = {0, 50000};
			nanosleep(&nap, 0);
			continue;
		}
		packet.header.source = htons(1024 + port++ % 60000);
		if (sendto(fd, &packet, sizeof packet, 0, (void *)&bare, sizeof bare) < 0)
			refused++; // An earlier one was rejected, or a filter says so at once.
		else
			sent++;
	}
	printf("%llu %llu\n", (unsigned long long)sent, (unsigned long long)refused);
}

// Datagrams whose head is made here, so that they may come from an address of another pod.
static void pulse(const struct sockaddr_in *to, double seconds, double rate,
		  const struct sockaddr_in *from)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	struct {
		struct iphdr ip;
		struct udphdr udp;
		uint64_t number, sent_at;
	} __attribute__((packed)) packet = {
	    .ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP},
	};
	struct sockaddr_in bare = *to;
	uint64_t begin = now(), end = begin + seconds * 1e9, sent = 0;

	if (fd < 0)
		fail("raw socket");
	// Late packets would make changes look slower than they are.
	setpriority(PRIO_PROCESS, 0, -15);
	bare.sin_port = 0;
	packet.ip.saddr = from->sin_addr.s_addr;
	packet.ip.daddr = to->sin_addr.s_addr;
	packet.udp.dest = to->sin_port;
	packet.udp.len = htons(sizeof packet - sizeof packet.ip);
	for (uint64_t t = begin; t < end && !ended; t = now()) {
		uint64_t due = begin + sent * 1e9 / rate;
		if (t < due) {
			struct timespec nap = {(due - t) / 1000000000, (due - t) % 1000000000};
			nanosleep(&nap, 0);
			continue;
		}
		packet.udp.source = htons(1024 + sent % 60000);
		packet.number = sent++;
		packet.sent_at = now();
		// One that a filter refuses at once is lost like any other.
		(void)!sendto(fd, &packet, sizeof packet, 0, (void *)&bare, sizeof bare);
	}
	printf("%llu\n", (unsigned long long)sent);
}

static void count(const struct sockaddr_in *to)
{
	uint64_t counts[2];
	counted(datagram_socket(to), counts);
	printf("%llu %llu\n", (unsigned long long)counts[0], (unsigned long long)counts[1]);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	const char *role = argc > 1 ? argv[1] : "";
	if (argc == 5 && !strcmp(role, "serve")) {
		serve(argv + 2);
		return 0;
	}
	if (argc < 4) {
		fprintf(stderr, "usage: see the head of traffic.c\n");
		return 2;
	}
	struct sockaddr_in to = address(argv[2], argv[3]);
	double seconds = argc > 4 ? atof(argv[4]) : 0;
	if (argc == 6 && !strcmp(role, "rr"))
		rr(&to, seconds, atoi(argv[5]));
	else if (argc == 5 && !strcmp(role, "crr"))
		crr(&to, seconds);
	else if (argc == 5 && !strcmp(role, "stream"))
		stream(&to, seconds);
	else if (argc == 6 && !strcmp(role, "udp"))
		udp(&to, seconds, atoi(argv[5]));
	else if (argc == 6 && !strcmp(role, "flood")) {
		signal(SIGTERM, end_now);
		flood(&to, seconds, atof(argv[5]));
	} else if (argc == 7 && !strcmp(role, "pulse")) {
		struct sockaddr_in from = address(argv[6], "0");
		signal(SIGTERM, end_now);
		pulse(&to, seconds, atof(argv[5]), &from);
	} else if (argc == 4 && !strcmp(role, "count"))
		count(&to);
	else
		return 2;
	return 0;
}
