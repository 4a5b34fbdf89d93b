/* What the command line of `gatehouse bench` asks for. Options, scenarios and --help come
 * from the two tables here. */
#ifndef GATEHOUSE_BENCH_OPTIONS_H
#define GATEHOUSE_BENCH_OPTIONS_H

#include "bench/client.h"
#include "bench/message.h"

/* X(NAME, name, conns, rooms, members, in_flight, duration_ms, text): with defaults. */
/* clang-format off */
#define BENCH_SCENARIO_TABLE(X)                                                          \
	X(CONNECT, "connect", 1000, 0, 0, 0, 0,                                          \
	  "N connections come: TCP, HTTP, open packet, CONNECT, and one join each. Latency is that of all of it together") \
	X(IDLE, "idle", 1000, 0, 0, 0, 30000,                                            \
	  "N connections, in one room each, do nothing but answer heartbeats for --duration") \
	X(FANOUT, "fanout", 1000, 1, 0, 8, 10000,                                        \
	  "All N connections are in one room, to which the first publishes")               \
	X(ROOMS, "rooms", 0, 200, 10, 1, 10000,                                          \
	  "--rooms rooms of --members connections each; the first of each room publishes to it") \
	X(ECHO, "echo", 100, 0, 0, 1, 10000,                                             \
	  "Each of N connections, in a room of its own, emits an event and waits for its ack") \
	X(POLL, "poll", 100, 0, 0, 1, 10000,                                             \
	  "The same over long-polling: a POST, and the GET that brings the ack")

enum bench_scenario {
#define BENCH_SCENARIO_ENUM_(name, word, conns, rooms, members, in_flight, duration, text) BENCH_##name,
	BENCH_SCENARIO_TABLE(BENCH_SCENARIO_ENUM_)
#undef BENCH_SCENARIO_ENUM_
};

/* X(type, field, flag, min, max, default, value, help): for a WORD, min and max are unused
 * and `value` lists the words, divided by |. */
#define BENCH_OPTION_TABLE(X)                                                            \
	X(NUMBER, processes, "--processes", 0, 256, "0", "N",                            \
	  "Processes that make the load; 0: one for each core")                          \
	X(WORD, transport, "--transport", 0, 0, "websocket", "websocket|polling|upgrade", \
	  "How connections talk; upgrade: begin with polling and go over to WebSocket, as browsers do") \
	X(NUMBER, conns, "--conns", 1, 1000000, "", "N",                                 \
	  "Connections")                                                                 \
	X(NUMBER, rooms, "--rooms", 1, 100000, "", "N", "Rooms of the scenario rooms")   \
	X(NUMBER, members, "--members", 1, 10000, "", "N",                               \
	  "Connections in each of them")                                                 \
	X(NUMBER, in_flight, "--in-flight", 1, 64, "", "N",                              \
	  "Messages of each sender that may be on their way; the next is sent when the oldest has arrived everywhere") \
	X(NUMBER, rate, "--rate", 0, 10000000, "0", "N",                                 \
	  "Messages a second, all senders together, whether or not the server keeps up; 0: as --in-flight says. Latency counts from when a message was to be sent") \
	X(NUMBER, messages, "--messages", 0, 1000000000, "0", "N",                       \
	  "Stop when each sender has sent so many; 0: when the time is up")              \
	X(TIME, duration_ms, "--duration", 100, 86400000, "", "TIME",                    \
	  "How long to measure at most, such as 500ms, 30s, 5m")                         \
	X(NUMBER, size, "--size", MESSAGE_SIZE_MIN, MESSAGE_SIZE_MAX, "128", "BYTES",    \
	  "Size of a message")                                                           \
	X(NUMBER, connect_rate, "--connect-rate", 0, 1000000, "0", "N",                  \
	  "Connects a second; 0: as fast as --pending allows")                           \
	X(NUMBER, pending, "--pending", 1, 100000, "200", "N",                           \
	  "Connections that may be on their way in at a time")                           \
	X(NUMBER, sources, "--sources", 0, NET_SOURCES_MAX, "0", "N",                    \
	  "Addresses 127.0.0.1, 127.0.0.2 … to connect from, where the server is in 127.0.0.0/8; 0: as many as the ports need") \
	X(TIME, timeout_ms, "--timeout", 100, 600000, "5s", "TIME",                      \
	  "What takes longer has failed: a connection's way in, a message that others wait for, the last messages") \
	X(TEXT, publish_to, "--publish-to", 0, 0, "", "URL",                             \
	  "Another server of the same cluster: those that publish (fanout, rooms) are further connections, there, and in no room") \
	X(TEXT, path, "--path", 0, 0, "/socket.io/", "PATH",                             \
	  "Path of Socket.IO, where the URL has none")                                   \
	X(TEXT, nsp, "--namespace", 0, 0, "/", "NAME", "Namespace to connect to")        \
	X(TEXT, auth, "--auth", 0, 0, "", "JSON", "Object to send with CONNECT, such as '{\"token\":\"…\"}'") \
	X(TEXT, room_prefix, "--room-prefix", 0, 0, "bench", "TEXT",                     \
	  "Rooms are named TEXT:0, TEXT:1 …")                                            \
	X(TEXT, join, "--join", 0, 0, "[\"room:join\",\"{room}\"]", "JSON",              \
	  "Event that joins a room; none: join nothing")                                 \
	X(WORD, join_reply, "--join-reply", 0, 0, "ack", "ack|none",                     \
	  "Whether the server acknowledges it; without that, messages may be sent before all have joined") \
	X(TEXT, emit, "--emit", 0, 0, "[\"room:emit\",\"{room}\",\"m\",\"{message}\"]", "JSON", \
	  "Event that publishes to a room")                                              \
	X(SWITCH, acks, "--acks", 0, 0, "", "", "Ask for an ack of each publish too")    \
	X(TEXT, echo, "--echo", 0, 0, "[\"room:emit\",\"{room}\",\"m\",\"{message}\"]", "JSON", \
	  "Event of echo and poll; its ack may hold anything")                           \
	X(TEXT, json, "--json", 0, 0, "", "FILE", "Write the results as JSON; -: on standard output, instead of the table") \
	X(PIDS, pids, "--server-pid", 0, 0, "", "PID",                                   \
	  "Tell the CPU time and memory of this process too; may be given for several")  \
	X(SWITCH, remote, "--remote", 0, 0, "", "",                                      \
	  "The server is not on this machine, and its owner agrees; else only loopback is accepted")
/* clang-format on */

enum { BENCH_PIDS_MAX = 64 };

struct bench_options {
	enum bench_scenario scenario;
	const char *url;
	struct {
		int v[BENCH_PIDS_MAX];
		size_t n;
	} pids;
#define BENCH_FIELD_NUMBER(field) uint64_t field;
#define BENCH_FIELD_TIME(field)	  uint64_t field;
#define BENCH_FIELD_TEXT(field)	  const char *field;
#define BENCH_FIELD_WORD(field)	  unsigned field;
#define BENCH_FIELD_SWITCH(field) bool field;
#define BENCH_FIELD_PIDS(field)
#define BENCH_FIELD_(type, field, ...) BENCH_FIELD_##type(field)
	BENCH_OPTION_TABLE(BENCH_FIELD_)
#undef BENCH_FIELD_
};

enum bench_asked { BENCH_ASKED_RUN, BENCH_ASKED_TEXT, BENCH_ASKED_WRONG };

/* Read the arguments behind "bench". BENCH_ASKED_TEXT: what is in `out` is all that was
 * asked for (--help, --list). BENCH_ASKED_WRONG: a sentence in `out` says what. Values
 * are borrowed from `argv`. */
enum bench_asked bench_options_read(struct bench_options *o, int argc, char *const *argv,
				    struct buf *out);

const char *bench_scenario_name(enum bench_scenario scenario);
const char *bench_transport_name(enum client_transport transport);

/* Milliseconds of "500ms", "30s", "5m", "1h". ERR_SYNTAX, ERR_RANGE. */
MUST_USE enum err bench_read_time(const char *text, uint64_t *ms);

#endif
