/* Counters, gauges and histograms, as Prometheus reads them. One table; the exposition
 * and the reference come from it. Plain integers: one loop, one thread.
 *
 * X(kind, field, name, label, help): kind is a row of METRICS_KINDS; label is "" or
 * key="value". Rows of one name stand together, and the first has the help. A histogram
 * is its BUCKETs, each with its upper bound as label ("0.005", "+Inf" last) and counting
 * what is in it alone, and then its SUM. */
#ifndef GATEHOUSE_GATEWAY_METRICS_H
#define GATEHOUSE_GATEWAY_METRICS_H

#include "proto/buf.h"

/* X(kind, type, how the workers of one service make one number, what one second or unit
 * is in the field). */
#define METRICS_KINDS(X)                                                                 \
	X(COUNTER, "counter", ADD, 1)                                                    \
	X(COUNTER_US, "counter", ADD, 1000000)                                           \
	X(GAUGE, "gauge", ADD, 1)                                                        \
	X(GAUGE_MAX, "gauge", LARGEST, 1)                                                \
	X(GAUGE_MAX_MS, "gauge", LARGEST, 1000)                                          \
	X(GAUGE_MIN, "gauge", SMALLEST, 1)                                               \
	X(GAUGE_MIN_MS, "gauge", SMALLEST, 1000)                                         \
	X(BUCKET, "histogram", ADD, 1)                                                   \
	X(SUM_MS, "histogram", ADD, 1000)

/* clang-format off */
#define METRICS_TABLE(X)                                                                  \
	X(GAUGE, conns_polling, "gatehouse_conns", "transport=\"polling\"", "Connections open now") \
	X(GAUGE, conns_websocket, "gatehouse_conns", "transport=\"websocket\"", "") \
	X(COUNTER, conns_opened, "gatehouse_conns_opened_total", "", "Connections opened") \
	X(COUNTER, conns_refused_max, "gatehouse_conns_refused_total", "reason=\"max\"", "Connections refused before they opened") \
	X(COUNTER, conns_refused_origin, "gatehouse_conns_refused_total", "reason=\"origin\"", "") \
	X(COUNTER, conns_refused_bad_request, "gatehouse_conns_refused_total", "reason=\"bad_request\"", "") \
	X(COUNTER, conns_refused_stopping, "gatehouse_conns_refused_total", "reason=\"stopping\"", "") \
	X(COUNTER, conns_refused_address, "gatehouse_conns_refused_total", "reason=\"address\"", "") \
	X(COUNTER, handshakes_timeout, "gatehouse_handshakes_failed_total", "reason=\"timeout\"", "Connections closed before their HTTP request") \
	X(COUNTER, handshakes_address, "gatehouse_handshakes_failed_total", "reason=\"address\"", "") \
	X(COUNTER, handshakes_proxy_header, "gatehouse_handshakes_failed_total", "reason=\"proxy_header\"", "") \
	X(COUNTER, handshakes_incomplete, "gatehouse_handshakes_failed_total", "reason=\"incomplete\"", "") \
	X(GAUGE_MIN, tls_cert_expires, "gatehouse_tls_certificate_expires_seconds", "", "When the certificate of TLS listeners expires, in seconds since 1970; 0: there is none") \
	X(COUNTER, tls_reloads, "gatehouse_tls_reloads_total", "result=\"ok\"", "Times the TLS certificate was to be read again") \
	X(COUNTER, tls_reloads_failed, "gatehouse_tls_reloads_total", "result=\"refused\"", "") \
	X(COUNTER, closes_peer, "gatehouse_conns_closed_total", "reason=\"peer\"", "Connections closed") \
	X(COUNTER, closes_ping_timeout, "gatehouse_conns_closed_total", "reason=\"ping_timeout\"", "") \
	X(COUNTER, closes_connect_timeout, "gatehouse_conns_closed_total", "reason=\"connect_timeout\"", "") \
	X(COUNTER, closes_parse_error, "gatehouse_conns_closed_total", "reason=\"parse_error\"", "") \
	X(COUNTER, closes_transport_error, "gatehouse_conns_closed_total", "reason=\"transport_error\"", "") \
	X(COUNTER, closes_too_big, "gatehouse_conns_closed_total", "reason=\"too_big\"", "") \
	X(COUNTER, closes_slow_reader, "gatehouse_conns_closed_total", "reason=\"slow_reader\"", "") \
	X(COUNTER, closes_backend_away, "gatehouse_conns_closed_total", "reason=\"backend_away\"", "") \
	X(COUNTER, closes_shutdown, "gatehouse_conns_closed_total", "reason=\"shutdown\"", "") \
	X(COUNTER, closes_server, "gatehouse_conns_closed_total", "reason=\"server\"", "") \
	X(COUNTER, closes_taken, "gatehouse_conns_closed_total", "reason=\"taken\"", "") \
	X(COUNTER, closes_missed, "gatehouse_conns_closed_total", "reason=\"missed\"", "") \
	X(COUNTER, recoveries_ok, "gatehouse_recoveries_total", "result=\"recovered\"", "Clients that came back and asked to be recovered: recovered; unknown: their session is gone, or was never there; lost: a log did not reach back, or the backend lost data; failed: the backend was away, they try again") \
	X(COUNTER, recoveries_unknown, "gatehouse_recoveries_total", "result=\"unknown\"", "") \
	X(COUNTER, recoveries_lost, "gatehouse_recoveries_total", "result=\"lost\"", "") \
	X(COUNTER, recoveries_failed, "gatehouse_recoveries_total", "result=\"failed\"", "") \
	X(COUNTER, events_replayed, "gatehouse_events_replayed_total", "", "Events that clients got later, since they were away") \
	X(COUNTER, sessions_parked, "gatehouse_sessions_parked_total", "", "Sockets whose client is gone and may come back") \
	X(COUNTER, upgrades, "gatehouse_upgrades_total", "", "Connections that went from polling to WebSocket, here at the end") \
	X(COUNTER, relays_out, "gatehouse_relayed_total", "direction=\"out\"", "Polling requests for sessions of other nodes: out: sent on from here; in: answered here") \
	X(COUNTER, relays_in, "gatehouse_relayed_total", "direction=\"in\"", "") \
	X(COUNTER, relays_lost, "gatehouse_relays_lost_total", "", "Polling requests sent on and not answered: the other node is gone or silent, or the backend is away") \
	X(COUNTER, moves_in, "gatehouse_moves_total", "direction=\"in\"", "Connections whose WebSocket is at another node than they polled at: in: came here; out: left") \
	X(COUNTER, moves_out, "gatehouse_moves_total", "direction=\"out\"", "") \
	X(COUNTER, moves_failed, "gatehouse_moves_failed_total", "", "Connections that were to move to another node and ended instead") \
	X(GAUGE, sockets, "gatehouse_sockets", "", "Sockets: connections to namespaces, open now") \
	X(COUNTER, connects_refused, "gatehouse_connects_refused_total", "", "CONNECT packets answered with an error") \
	X(GAUGE, rooms, "gatehouse_rooms", "", "Rooms with members on this node") \
	X(GAUGE, memberships, "gatehouse_memberships", "", "Rooms of all sockets added up: a socket in three rooms counts three times") \
	X(GAUGE, heap_bytes, "gatehouse_heap_bytes", "", "Memory in use on the heap") \
	X(COUNTER, packets_in, "gatehouse_packets_received_total", "", "Engine.IO packets from clients") \
	X(COUNTER, bytes_in, "gatehouse_received_bytes_total", "", "Payload bytes from clients") \
	X(COUNTER, packets_out, "gatehouse_packets_sent_total", "", "Engine.IO packets handed to the kernel") \
	X(COUNTER, bytes_out, "gatehouse_sent_bytes_total", "", "Bytes handed to the kernel") \
	X(COUNTER, events_in, "gatehouse_events_received_total", "", "Socket.IO events from clients") \
	X(COUNTER, events_out, "gatehouse_events_sent_total", "", "Socket.IO events for clients; an event to a room counts once for each receiver") \
	X(COUNTER, acks_in, "gatehouse_acks_received_total", "", "Acks from clients") \
	X(COUNTER, acks_out, "gatehouse_acks_sent_total", "", "Acks for clients") \
	X(COUNTER, writes, "gatehouse_writes_total", "", "Writes to clients; packets sent per write tell how well they batch") \
	X(COUNTER, outbox_dropped, "gatehouse_outbox_dropped_total", "", "Volatile events dropped for slow clients") \
	X(COUNTER, events_unhandled, "gatehouse_events_unhandled_total", "", "Events no application knows") \
	X(COUNTER, events_refused, "gatehouse_events_refused_total", "", "Built-in events answered with an error") \
	X(COUNTER, events_lost, "gatehouse_events_lost_total", "", "Events without an ack that could not be published") \
	X(COUNTER, throttled, "gatehouse_throttled_total", "", "Times a client that sent too fast was made to wait") \
	X(GAUGE_MIN, backend_up, "gatehouse_backend_up", "", "1 while the adapter's backend is connected and subscribed") \
	X(COUNTER, backend_connects, "gatehouse_backend_connects_total", "", "Connections made to the backend") \
	X(COUNTER, backend_gaps, "gatehouse_backend_gaps_total", "", "Times subscriptions were interrupted, so that messages may have been missed") \
	X(COUNTER, backend_gap_events, "gatehouse_backend_gap_events_total", "", "Events heard later, after such an interruption") \
	X(COUNTER, backend_log_cut, "gatehouse_backend_log_cut_total", "", "Events cut out of the logs of rooms before their time, since logEvents or logBytes was reached (counted at the node whose event was one too many)") \
	X(COUNTER, backend_eras, "gatehouse_backend_eras_total", "", "Times the backend was found to be another process than before, by a restart or a failover, or to have lost data") \
	X(COUNTER, backend_published, "gatehouse_published_total", "", "Messages the backend confirmed") \
	X(COUNTER, backend_publish_failed, "gatehouse_publish_failed_total", "", "Messages not published: backend away too long, or too many waiting") \
	X(COUNTER, backend_publish_unconfirmed, "gatehouse_publish_unconfirmed_total", "", "Messages whose connection broke before the answer") \
	X(GAUGE, backend_publish_waiting_bytes, "gatehouse_publish_waiting_bytes", "", "Bytes of messages not answered yet") \
	X(COUNTER, backend_received, "gatehouse_backend_received_total", "", "Messages from the backend") \
	X(COUNTER, backend_received_bytes, "gatehouse_backend_received_bytes_total", "", "Bytes of messages from the backend") \
	X(COUNTER, backend_told, "gatehouse_backend_told_total", "", "Messages that other nodes sent to this one") \
	X(COUNTER, backend_told_bytes, "gatehouse_backend_told_bytes_total", "", "Bytes of messages that other nodes sent to this one") \
	X(COUNTER, backend_malformed, "gatehouse_backend_malformed_total", "", "Messages from the backend that could not be read") \
	X(COUNTER, backend_ghosts, "gatehouse_presence_reaped_total", "", "Members of dead nodes removed by this node") \
	X(GAUGE, backend_subscriptions, "gatehouse_backend_subscriptions", "", "Channels and patterns subscribed to") \
	X(GAUGE_MAX, backend_rtt_us, "gatehouse_backend_rtt_microseconds", "", "Last measured round trip to the backend") \
	X(BUCKET, turns_5ms, "gatehouse_loop_turn_seconds", "0.005", "How long the event loop worked from waking up until it slept again; meanwhile nobody else is served") \
	X(BUCKET, turns_10ms, "gatehouse_loop_turn_seconds", "0.01", "") \
	X(BUCKET, turns_25ms, "gatehouse_loop_turn_seconds", "0.025", "") \
	X(BUCKET, turns_50ms, "gatehouse_loop_turn_seconds", "0.05", "") \
	X(BUCKET, turns_100ms, "gatehouse_loop_turn_seconds", "0.1", "") \
	X(BUCKET, turns_250ms, "gatehouse_loop_turn_seconds", "0.25", "") \
	X(BUCKET, turns_1s, "gatehouse_loop_turn_seconds", "1", "") \
	X(BUCKET, turns_more, "gatehouse_loop_turn_seconds", "+Inf", "") \
	X(SUM_MS, turns_ms, "gatehouse_loop_turn_seconds", "", "") \
	X(GAUGE_MAX_MS, turn_max_ms, "gatehouse_loop_turn_max_seconds", "", "The longest turn of the event loop in the last 15 to 30 seconds") \
	X(GAUGE, workers, "gatehouse_workers", "", "Processes that serve clients: workers that run and say so") \
	X(GAUGE, workers_silent, "gatehouse_workers_silent", "", "Workers that run but did not come round for 10 s; their gauges are left out") \
	X(GAUGE_MAX, worker_conns_max, "gatehouse_worker_conns_max", "", "Connections of the worker that has most; maxConns holds for each") \
	X(COUNTER, worker_restarts, "gatehouse_worker_restarts_total", "", "Workers started again after they ended") \
	X(GAUGE_MIN_MS, process_start_ms, "process_start_time_seconds", "", "When the process started, in seconds since 1970") \
	X(COUNTER_US, process_cpu_us, "process_cpu_seconds_total", "", "User and system CPU time spent") \
	X(GAUGE, process_rss_bytes, "process_resident_memory_bytes", "", "Resident memory") \
	X(GAUGE_MAX, process_open_fds, "process_open_fds", "", "Open file descriptors; with workers, of the one that has most") \
	X(GAUGE_MIN, process_max_fds, "process_max_fds", "", "File descriptors the process may open; with workers, each of them")
/* clang-format on */

/* Of queues, by the rule that is for them, with the labels namespace and rule; those of
 * rules beyond METRICS_RULES_MAX are not told. X(kind, field, name, one, help); one: what
 * only a rule can have that names one queue. */
/* clang-format off */
#define METRICS_QUEUE_TABLE(X) \
	X(COUNTER, pushed, "gatehouse_queue_pushed_total", false, "Messages that clients pushed") \
	X(COUNTER, full, "gatehouse_queue_full_total", false, "Pushes of clients refused since the queue was full") \
	X(COUNTER, delivered, "gatehouse_queue_delivered_total", false, "Messages sent to clients") \
	X(COUNTER, done, "gatehouse_queue_done_total", false, "Messages clients have acknowledged") \
	X(COUNTER, failed, "gatehouse_queue_failed_total", false, "Messages clients failed at, or did not acknowledge in time") \
	X(COUNTER, died, "gatehouse_queue_died_total", false, "Messages that became dead letters by that") \
	X(COUNTER, returned, "gatehouse_queue_returned_total", false, "Messages given back since the client was gone") \
	X(COUNTER, late, "gatehouse_queue_late_total", false, "Acknowledgements that came too late: the message was somebody else's already") \
	X(GAUGE, in_flight, "gatehouse_queue_in_flight", false, "Messages that clients have not acknowledged yet") \
	X(GAUGE, consumers, "gatehouse_queue_consumers", false, "Clients that consume") \
	X(GAUGE_MAX, depth, "gatehouse_queue_depth", true, "Messages in the queue, in the whole cluster, those in flight among them; for rules that name one queue") \
	X(GAUGE_MAX, dead, "gatehouse_queue_dead", true, "Dead letters in the queue; likewise") \
	X(GAUGE_MAX, oldest_ms, "gatehouse_queue_oldest_milliseconds", true, "Age of the oldest message in the queue; likewise")
/* clang-format on */

enum { METRICS_RULES_MAX = 32 };

struct metrics_queue {
#define METRICS_QUEUE_FIELD_(kind, field, name, one, help) uint64_t field;
	METRICS_QUEUE_TABLE(METRICS_QUEUE_FIELD_)
#undef METRICS_QUEUE_FIELD_
};

/* The labels. */
struct metrics_rule {
	const char *nsp, *rule;
	bool one; /* it names one queue */
};

struct metrics {
#define METRICS_FIELD_(kind, field, name, label, help) uint64_t field;
	METRICS_TABLE(METRICS_FIELD_)
#undef METRICS_FIELD_
	struct metrics_queue queues[METRICS_RULES_MAX]; /* as the rules come */
};

/* Append the exposition (text format 0.0.4), with HELP and TYPE once per name, and
 * gatehouse_build_info{version,adapter,node}; `node` NULL: several, the label is left
 * away. */
void metrics_write(const struct metrics *m, const char *version, const char *adapter,
		   const char *node, struct buf *out);

/* Append those of queues, which have these rules. */
void metrics_write_queues(const struct metrics *m, const struct metrics_rule *rules,
			  size_t n, struct buf *out);

/* Count a turn of the loop. */
void metrics_count_turn(struct metrics *m, uint64_t ms);

/* One of several: begin, add each, end. */
void metrics_total_begin(struct metrics *total);
void metrics_total_add(struct metrics *total, const struct metrics *m);
/* Only what never goes back: what a process did counts when it is gone, what it was does
 * not. */
void metrics_total_add_counters(struct metrics *total, const struct metrics *m);
void metrics_total_end(struct metrics *total);

/* The reference page docs/metrics.md, from the table. */
void metrics_reference(struct buf *out);

#endif
