/* Every setting, once. The parser, --help, --check-config, the environment names and
 * docs/configuration.md come from this table.
 *
 * X(type, field, key, unit, min, max, def, dev, help)
 *   type   BOOL, INT (uint64_t), STR (char *, NULL if not set), LIST (struct str_list,
 *          comma-separated outside the file), SECRET (as STR, never shown)
 *   field  member of struct config; ends with its unit
 *   key    as in the file; --key-in-kebab-case as a flag; GATEHOUSE_KEY_IN_SNAKE_CASE in
 *          the environment. Names and defaults of Socket.IO where it has the setting.
 *   unit   MS ("25000", "25s", "2m"), BYTES ("1000000", "1MB", "64KiB"), COUNT, NONE
 *   min, max   bounds of an INT
 *   def    default, as written in a file; "" is not set
 *   dev    default with --dev; NULL: the same
 */
#ifndef GATEHOUSE_GATEWAY_SETTINGS_H
#define GATEHOUSE_GATEWAY_SETTINGS_H

/* clang-format off */
#define SETTINGS_TABLE(X)                                                                 \
	X(LIST, listen, "listen", NONE, 0, 0, "", "127.0.0.1:3000",                       \
	  "Where clients connect, several are allowed: HOST:PORT or [IPV6]:PORT; https://HOST:PORT for TLS (tlsCert, tlsKey); unix:/PATH for a unix socket, unix:/PATH?mode=0660 (the default) with the mode of its file; ?proxy behind any of them where each connection begins with a PROXY protocol header (version 1 or 2): only the proxy may be able to reach such a one") \
	X(STR, ops_listen, "opsListen", NONE, 0, 0, "", "127.0.0.1:0",                    \
	  "Where /healthz, /readyz and /metrics are served, as in listen; port 0 picks a free one and logs it") \
	X(STR, tls_cert, "tlsCert", NONE, 0, 0, "", NULL,                                 \
	  "File with the certificate of https:// listeners, PEM, the chain behind it; SIGHUP reads it and tlsKey again") \
	X(STR, tls_key, "tlsKey", NONE, 0, 0, "", NULL,                                   \
	  "File with the certificate's private key, PEM, without a passphrase")           \
	X(STR, tls_min_version, "tlsMinVersion", NONE, 0, 0, "1.2", NULL,                 \
	  "Oldest version of TLS that is spoken: 1.2 or 1.3")                             \
	X(LIST, trusted_proxies, "trustedProxies", NONE, 0, 0, "", NULL,                  \
	  "Proxies whose X-Forwarded-For header is believed: addresses, networks such as 10.0.0.0/8, and unix for who comes by a unix socket; others' is ignored") \
	X(SECRET, redis, "redis", NONE, 0, 0, "", NULL,                                   \
	  "redis://[user:password@]host[:port][/db] or unix:///path[?db=n]; not set: one node alone (adapter memory)") \
	X(STR, redis_password_file, "redisPasswordFile", NONE, 0, 0, "", NULL,            \
	  "File that holds the Redis password, instead of one in the URL")                \
	X(STR, redis_key, "redisKey", NONE, 0, 0, "socket.io", NULL,                      \
	  "Prefix of the Redis channels; the option `key` of the Socket.IO Redis adapter") \
	X(INT, redis_reply_timeout_ms, "redisReplyTimeout", MS, 100, 600000, "5s", NULL,  \
	  "A Redis connection that is silent for longer while an answer is due counts as cut") \
	X(INT, redis_backoff_ms_min, "redisBackoffMin", MS, 10, 60000, "100ms", NULL,     \
	  "First wait before connecting to Redis again; doubles up to redisBackoffMax, with jitter") \
	X(INT, redis_backoff_ms_max, "redisBackoffMax", MS, 10, 600000, "5s", NULL,       \
	  "Longest wait before connecting to Redis again")                                \
	X(INT, publish_wait_ms, "publishWait", MS, 0, 600000, "10s", NULL,                \
	  "How long publishes, joins and new connects wait for Redis to return before they fail") \
	X(INT, publish_waiting_bytes_max, "publishWaitingMax", BYTES, 65536, 4294967296, "16MB", NULL, \
	  "How many bytes of publishes may be unanswered; more fail at once")             \
	X(INT, presence_lease_ms, "presenceLease", MS, 1000, 600000, "15s", NULL,         \
	  "How long the members of a killed node may stay listed in rooms")               \
	X(INT, workers, "workers", COUNT, 0, 256, "1", NULL,                              \
	  "Processes that serve clients together on this machine, one for a core; 0: as many as there are cores; more than one need redis; limits such as maxConns are for each") \
	X(STR, path, "path", NONE, 0, 0, "/socket.io/", NULL,                             \
	  "URL path of Socket.IO requests")                                               \
	X(INT, ping_interval_ms, "pingInterval", MS, 100, 3600000, "25s", NULL,           \
	  "How often the server pings each client")                                       \
	X(INT, ping_timeout_ms, "pingTimeout", MS, 100, 3600000, "20s", NULL,             \
	  "How long a client may take to answer a ping before it is closed")              \
	X(LIST, transports, "transports", NONE, 0, 0, "polling,websocket", NULL,          \
	  "What clients may use: polling, websocket")                                     \
	X(INT, upgrade_timeout_ms, "upgradeTimeout", MS, 100, 600000, "10s", NULL,        \
	  "How long a client may take from opening a WebSocket for a session that polls until it goes over to it") \
	X(INT, connect_timeout_ms, "connectTimeout", MS, 100, 3600000, "45s", NULL,       \
	  "How long a connection may take to join its first namespace before it is closed") \
	X(INT, max_http_buffer_size, "maxHttpBufferSize", BYTES, 1024, 104857600, "1MB", NULL, \
	  "Largest message a client may send; a larger one closes its connection")        \
	X(INT, max_attachments, "maxAttachments", COUNT, 0, 1000, "10", NULL,             \
	  "Binary attachments one event may carry")                                       \
	X(LIST, origins, "origins", NONE, 0, 0, "", "*",                                  \
	  "Browser origins that may connect: https://app.example, \"same\" for pages this server was asked for by the same host, \"*\" for any; requests without an Origin header are no browser's and pass") \
	X(STR, parser, "parser", NONE, 0, 0, "auto", NULL,                                \
	  "How clients encode packets: json, msgpack (socket.io-msgpack-parser), or auto, as each client's first message shows") \
	X(BOOL, allow_eio3, "allowEIO3", NONE, 0, 0, "false", NULL,                       \
	  "Let clients of Socket.IO 2 (Engine.IO 3) connect too")                         \
	X(BOOL, cors, "cors", NONE, 0, 0, "true", NULL,                                   \
	  "Answer preflight requests, and say in each answer that pages of the origins in `origins` may read it; false: no such headers at all, the load balancer adds them") \
	X(BOOL, cors_credentials, "corsCredentials", NONE, 0, 0, "false", NULL,           \
	  "Say that they may with cookies (the client's option withCredentials); not with origins: \"*\"") \
	X(STR, cookie, "cookie", NONE, 0, 0, "", NULL,                                    \
	  "Name of a cookie that holds the session id, for load balancers that are to be sticky; not set: none") \
	X(BOOL, http_compression, "httpCompression", NONE, 0, 0, "true", NULL,            \
	  "Compress answers of long-polling from 1 KiB on with gzip, if the client takes it") \
	X(INT, request_timeout_ms, "requestTimeout", MS, 100, 3600000, "60s", NULL,       \
	  "How long a client may take to send the body of a request")                     \
	X(BOOL, serve_client, "serveClient", NONE, 0, 0, "true", NULL,                    \
	  "Serve the official client below the path: /socket.io/socket.io.min.js and so on") \
	X(BOOL, page, "page", NONE, 0, 0, "false", "true",                                \
	  "Serve the chat page at / and the official client it uses")                     \
	X(INT, max_conns, "maxConns", COUNT, 1, 10000000, "100000", "10000",                 \
	  "Connections one node takes; more are refused with 503")                        \
	X(INT, max_handshakes, "maxHandshakes", COUNT, 1, 1000000, "4000", NULL,          \
	  "Connections that have not finished their HTTP request; more wait in the kernel's queue") \
	X(INT, max_handshakes_per_address, "maxHandshakesPerAddress", COUNT, 0, 1000000, "1000", NULL, \
	  "How many of maxHandshakes one address may have (an IPv6 network of 64 bits counts as one); more are closed at once; does not hold for trustedProxies; 0: no limit") \
	X(INT, max_conns_per_address, "maxConnsPerAddress", COUNT, 0, 10000000, "0", NULL, \
	  "Connections one address may have (counted as for maxHandshakesPerAddress); more are refused with 503; does not hold for trustedProxies; 0: no limit") \
	X(INT, handshake_timeout_ms, "handshakeTimeout", MS, 100, 600000, "10s", NULL,    \
	  "How long a connection may take from its start to its HTTP request, PROXY header and TLS handshake included") \
	X(INT, drain_delay_ms, "drainDelay", MS, 0, 600000, "3s", "0s",                   \
	  "How long a node that was told to stop still takes clients while /readyz already says 503, so that load balancers notice first; longer than their checks take to fail (2 s with deploy/haproxy.cfg)") \
	X(INT, drain_time_ms, "drainTime", MS, 0, 3600000, "10s", "0s",                   \
	  "Over how long a node that stops lets its clients go, evenly, so that they do not all come to the others at once; 0: all at once") \
	X(INT, max_namespaces, "maxNamespaces", COUNT, 1, 1000, "10", NULL,               \
	  "Namespaces one connection may be in at once")                                  \
	X(INT, max_rooms, "maxRooms", COUNT, 1, 100000, "100", NULL,                      \
	  "Rooms one socket may be in at once, its own not counted")                      \
	X(INT, max_room_name, "maxRoomName", BYTES, 1, 4096, "200", NULL,                 \
	  "Longest room name")                                                            \
	X(INT, max_queue_name, "maxQueueName", BYTES, 1, 200, "200", NULL,                \
	  "Longest name of a queue, a group or an idempotency key that a client gives")   \
	X(INT, max_consumed, "maxConsumed", COUNT, 1, 10000, "20", NULL,                  \
	  "Queues one socket may consume from at once")                                   \
	X(INT, queue_poll_ms, "queuePoll", MS, 100, 3600000, "30s", NULL,                 \
	  "How often a node looks into a queue of which it heard nothing")                \
	X(INT, recovery_window_ms, "recoveryWindow", MS, 1000, 86400000, "2m", NULL,      \
	  "How long a client may be away and still get what it missed, in namespaces with recovery: true (maxDisconnectionDuration of Socket.IO)") \
	X(INT, log_events, "logEvents", COUNT, 1, 1000000, "1000", NULL,                  \
	  "Events of one room that are kept for clients that are away; if more come within recoveryWindow, some clients are told that they missed events") \
	X(INT, log_bytes, "logBytes", BYTES, 1024, 1073741824, "1MB", NULL,               \
	  "Bytes they may have together")                                                 \
	X(INT, namespace_log_events, "namespaceLogEvents", COUNT, 1, 1000000, "10000", NULL, \
	  "Likewise for the events of a namespace that go to all or to several rooms")    \
	X(INT, namespace_log_bytes, "namespaceLogBytes", BYTES, 1024, 1073741824, "16MB", NULL, \
	  "Bytes they may have together")                                                 \
	X(INT, recent_bytes, "recentBytes", BYTES, 65536, 1073741824, "16MB", NULL,       \
	  "Bytes of the latest events of all rooms that Redis keeps for nodes whose connection was cut; after a longer cut their clients reconnect instead") \
	X(INT, event_rate, "eventRate", COUNT, 0, 1000000, "1000", NULL,                  \
	  "Packets per second one connection may send for long (twice as many in a burst); a faster one is read more slowly; 0: no limit") \
	X(INT, outbox_bytes_max, "outboxMax", BYTES, 65536, 1073741824, "4MB", NULL,      \
	  "Bytes that may wait for one client; when more would, volatile events are dropped and for others the client is closed") \
	X(INT, socket_send_buffer, "socketSendBuffer", BYTES, 0, 16777216, "128KiB", NULL, \
	  "Kernel send buffer per connection; 0 leaves it to the kernel, which may hold megabytes for a stuck client") \
	X(SECRET, jwt_secret, "jwtSecret", NONE, 0, 0, "", NULL,                          \
	  "Secret of HS256 tokens in auth.token; better given as jwtSecretFile or in the environment") \
	X(STR, jwt_secret_file, "jwtSecretFile", NONE, 0, 0, "", NULL,                    \
	  "File that holds the secret of HS256 tokens; one newline at its end is not part of it") \
	X(BOOL, jwt_require_exp, "jwtRequireExp", NONE, 0, 0, "true", NULL,               \
	  "Refuse tokens without an expiry time (exp)")                                   \
	X(BOOL, trust_auth_user, "trustAuthUser", NONE, 0, 0, "false", "true",            \
	  "Without a JWT secret, believe auth.user: anybody can be anybody; for trying things out") \
	X(STR, log_level, "logLevel", NONE, 0, 0, "info", NULL,                           \
	  "error, warn, info or debug")                                                   \
	X(STR, log_format, "logFormat", NONE, 0, 0, "text", NULL,                         \
	  "text, or json for one object a line")
/* clang-format on */

#endif
