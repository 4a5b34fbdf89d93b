/* Nodes for adapter tests: adapters on one loop whose turns are taken as the gateway
 * takes them, that remember all they hear; and waiting for a condition, with a deadline.
 *
 * The harness checks for all tests: no callback runs inside a call, each answer comes
 * once, state is said on change only, and nothing but the log speaks after a close. */
#ifndef GATEHOUSE_TESTS_ADAPTER_HARNESS_H
#define GATEHOUSE_TESTS_ADAPTER_HARNESS_H

#include "adapter/adapter.h"
#include "proto/buf.h"
#include "server.h"

enum { WAIT_MS = 30000 };

/* A growing list of strings. */
struct strings {
	char **v;
	size_t n;
};

void strings_clear(struct strings *s);
size_t strings_count(const struct strings *s, const char *line);

/* How many begin with `start` and hold `part`. */
size_t strings_find(const struct strings *s, const char *start, const char *part);

struct node {
	struct adapter *a;
	uv_loop_t *loop;
	struct node *next; /* of the harness */
	char code[NODE_CODE_LEN + 1];
	/* "/nsp rooms=a,b except=c flags=1 e:text", " foreign", " n=5" if it has a
	 * number; "told FROM text" */
	struct strings heard;
	struct strings lost;	 /* "/nsp#room sid user", " @node" as of members */
	struct strings logs;	 /* "id" */
	struct strings told;	 /* "id text", of the same lines */
	struct strings woken;	 /* queues of on_queue */
	struct strings sessions; /* of on_session: "taken SID 2", "joined SID 2 room" */
	unsigned ups, downs, gaps, presence_lost, missed;
	char missed_at[OFFSET_MAX + 1]; /* where it was when it was told so last */
	uint64_t number;		/* the last that was heard */
	bool up, closing, closed;
};

/* What it was made of; a test changes what it needs. */
struct setup {
	bool redis;
	struct adapter_options o;
	struct adapter_redis_options r;
	bool unopened;
};

/* Defaults for tests. `server` NULL: memory. */
struct setup setup_of(struct server *server);
/* Made, given the namespaces "/" and "/other", and opened. */
struct node *node_new(const struct setup *s, const char *code);
/* The same, and waits until it is up. */
struct node *node_up(const struct setup *s, const char *code);
void node_close(struct node *n);
/* Close, wait for it, and free. */
void node_end(struct node *n);
/* Only the end of what is closed already. */
void node_free(struct node *n);
/* Stop taking this node's turns: as if its process stood still. And go on. */
void node_freeze(struct node *n);
void node_thaw(struct node *n);

/* One round of the loop, with every node's turns; waits some milliseconds at most. */
void step(void);
uint64_t clock_ms(void);
/* At the end of main: everything is gone. True if the harness's own checks held. */
bool harness_end(void);

/* Go on until `cond` holds; a failed check if it does not within WAIT_MS. */
#define WAIT(cond)                                                                       \
	do {                                                                             \
		uint64_t wait_end_ = clock_ms() + WAIT_MS;                               \
		while (!(cond) && clock_ms() < wait_end_)                                \
			step();                                                          \
		CHECK(cond);                                                             \
	} while (0)

/* An answer to come. */
struct answer {
	unsigned calls;
	enum err err;
	uint64_t count;
	bool more;
	struct strings members; /* "sid user"; " @node" if its id is of another */
};

void answer_clear(struct answer *a);

/* Broadcast ["e", text] to rooms and except given as "a,b"; NULL: none. `got` may be
 * NULL. */
void publish(struct node *n, const char *nsp, const char *rooms, const char *except,
	     unsigned flags, const char *text, struct answer *got);
/* To the node of that code, and to that node and this one. */
void tell(struct node *n, const char *to, const char *text, struct answer *got);
void fence_with(struct node *n, const char *to, const char *text, struct answer *got);
/* To one room of "/", not waiting for the answer. */
void say(struct node *n, const char *room, const char *text);
void subscribe(struct node *n, const char *nsp, const char *room, struct answer *got);
void unsubscribe(struct node *n, const char *nsp, const char *room);
void add(struct node *n, const char *room, const char *sid, const char *user,
	 struct answer *got);
void drop(struct node *n, const char *room, const char *sid, const char *user,
	  struct answer *got);
void list(struct node *n, const char *room, const char *after, size_t limit,
	  struct answer *got);
/* Subscribe to a room of "/" and wait for it. */
void join(struct node *n, const char *room);
/* What came of a request to a queue. */
struct queue_got {
	unsigned calls;
	enum err err;
	struct queue_reply r; /* its messages are copies */
	struct buf bytes;
};

void queue_ask(struct node *n, const struct queue_request *r, struct queue_got *got);
void queue_got_clear(struct queue_got *got);
void queue_watch(struct node *n, const char *queue);
void queue_unwatch(struct node *n, const char *queue);

/* What came of a request to a session. */
struct session_got {
	unsigned calls;
	enum err err;
	struct session_reply r;	 /* without rooms and messages */
	struct strings rooms;	 /* "room flags joined-left,joined-" */
	struct strings messages; /* as heard */
	size_t bytes;		 /* of the messages */
	size_t heard, told;	 /* lines in heard and sessions of the node by then */
	struct node *node;
};

void session_ask(struct node *n, const struct session_request *r,
		 struct session_got *got);
void session_got_clear(struct session_got *got);

/* A socket of "/" and of the user ann, as its session is named. */
struct who {
	char sid[ID_LEN + 1], pid[PID_LEN + 1];
	uint64_t generation, floor;
};

enum { PAGE_MAX = 1 << 20 };

/* A request of it, with pages of PAGE_MAX and in no room. */
struct session_request session_of(const struct who *who, enum session_op op);
/* Ask, and wait for the answer; what came of it, and no more. */
struct session_got session_wait(struct node *n, struct session_request r);
enum err session_result(struct node *n, struct session_request r);
/* The number in a line of `heard` or `messages`; 0: none. */
uint64_t number_in(const char *line);

/* An id of this node: its code and a number. */
const char *sid_of(const struct node *n, unsigned i, char out[ID_LEN + 1]);

#endif
