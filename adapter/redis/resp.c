#include "adapter/redis/resp.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "proto/mem.h"

enum {
	/* Elements in one reply; what our scripts return stays far below. */
	RESP_NODES_MAX = 1 << 20,
	/* Kept from one reply to the next; a large message may need more for itself. */
	RESP_KEEP_BYTES = 256 * 1024,
	/* A status or error; Redis's are short. */
	RESP_LINE_MAX = 64 * 1024,
	NUMBER_MAX = 24
};

/* `sign`, the number, CRLF. */
static void put_number(struct buf *out, char sign, uint64_t number)
{
	uint8_t digits[NUMBER_MAX];
	size_t n = sizeof(digits);

	digits[--n] = '\n';
	digits[--n] = '\r';
	do {
		digits[--n] = (uint8_t)('0' + number % 10);
		number /= 10;
	} while (number);
	digits[--n] = (uint8_t)sign;
	buf_append(out, digits + n, sizeof(digits) - n);
}

void resp_command(struct buf *out, size_t n)
{
	put_number(out, '*', n);
}

void resp_word(struct buf *out, struct slice word)
{
	put_number(out, '$', word.n);
	buf_slice(out, word);
	buf_append(out, "\r\n", 2);
}

void resp_word_str(struct buf *out, const char *word)
{
	resp_word(out, slice_str(word));
}

void resp_word_u64(struct buf *out, uint64_t number)
{
	char digits[NUMBER_MAX];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);

	resp_word(out, slice_of(digits, (size_t)n));
}

/* A node while its reply is read: nodes and bytes may still move, so it holds places.
 * They become pointers when the reply is whole. */
struct place {
	size_t bytes; /* where in `bytes` its string begins */
	size_t first; /* its first element in `nodes` */
};

/* Where in the stream the next byte is, before hiredis has it: it would keep up to
 * 512 MB of one string. */
enum framing {
	FRAMING_TYPE,	/* of the next line: its first byte */
	FRAMING_LINE,	/* hiredis takes it */
	FRAMING_LENGTH, /* of a string: gathered in `length` */
	FRAMING_STRING, /* `left` bytes of it, CRLF included, for hiredis */
	FRAMING_SKIP,	/* or for nobody */
};

struct resp_reader {
	redisReader *hiredis;
	size_t bytes_max;
	enum framing framing;
	char length[NUMBER_MAX]; /* "$<number>\r\n" */
	size_t length_n, line_n;
	uint64_t left;
	struct buf passed; /* what hiredis is to have of the bytes at hand */
	const char *why;   /* ours; NULL: hiredis's */
	struct resp *nodes;
	struct place *places;
	size_t n, cap;
	struct buf bytes;
};

static struct resp_reader *reader_of(const redisReadTask *task)
{
	return task->privdata;
}

static bool nodes_grow(struct resp_reader *r, size_t n)
{
	if (n > RESP_NODES_MAX - r->n)
		return false;
	if (r->n + n > r->cap) {
		size_t cap = r->cap ? r->cap : 16;

		while (cap < r->n + n)
			cap *= 2;
		r->nodes = mem_realloc(r->nodes, cap * sizeof(*r->nodes));
		r->places = mem_realloc(r->places, cap * sizeof(*r->places));
		r->cap = cap;
	}
	r->n += n;
	return true;
}

/* hiredis wants an object that is not NULL: the node's index and one. */
static void *object_of(size_t index)
{
	return (void *)(uintptr_t)(index + 1);
}

/* The node of this task: the reply itself, or an element its parent made room for. */
static size_t node_of(const redisReadTask *task, enum resp_type type)
{
	struct resp_reader *r = reader_of(task);
	size_t i = 0;

	if (task->parent) {
		size_t parent = (uintptr_t)task->parent->obj - 1;

		assert(parent < r->n);
		i = r->places[parent].first + (size_t)task->idx;
	} else if (r->n == 0) {
		nodes_grow(r, 1);
	}
	assert(i < r->n);
	r->nodes[i] = (struct resp){.type = type};
	return i;
}

static void *on_string(const redisReadTask *task, char *s, size_t n)
{
	struct resp_reader *r = reader_of(task);
	size_t i = node_of(task, task->type == REDIS_REPLY_ERROR    ? RESP_ERROR
				 : task->type == REDIS_REPLY_STATUS ? RESP_STATUS
								    : RESP_STR);

	if (n > r->bytes_max || r->bytes.n > 2 * r->bytes_max - n) {
		r->why = "a reply that is too large";
		return NULL;
	}
	r->places[i].bytes = r->bytes.n;
	r->nodes[i].s.n = n;
	buf_append(&r->bytes, s, n);
	return object_of(i);
}

#if HIREDIS_MAJOR >= 1
static void *on_array(const redisReadTask *task, size_t n)
#else
static void *on_array(const redisReadTask *task, int n)
#endif
{
	struct resp_reader *r = reader_of(task);
	size_t i = node_of(task, RESP_ARRAY);

	r->places[i].first = r->n;
	r->nodes[i].n = (size_t)n;
	if (!nodes_grow(r, (size_t)n))
		return NULL;
	return object_of(i);
}

static void *on_integer(const redisReadTask *task, long long number)
{
	size_t i = node_of(task, RESP_INT);

	reader_of(task)->nodes[i].i = number;
	return object_of(i);
}

static void *on_nil(const redisReadTask *task)
{
	return object_of(node_of(task, RESP_NIL));
}

#if HIREDIS_MAJOR >= 1
/* RESP3 only, which is never asked for; kept whole so that no server can crash us. */
static void *on_double(const redisReadTask *task, double number, char *s, size_t n)
{
	(void)number;
	return on_string(task, s, n);
}

static void *on_bool(const redisReadTask *task, int yes)
{
	return on_integer(task, yes);
}
#endif

static void on_free(void *object)
{
	(void)object;
}

struct resp_reader *resp_reader_new(size_t bytes_max)
{
	static redisReplyObjectFunctions functions = {
		.createString = on_string,
		.createArray = on_array,
		.createInteger = on_integer,
		.createNil = on_nil,
		.freeObject = on_free,
#if HIREDIS_MAJOR >= 1
		.createDouble = on_double,
		.createBool = on_bool,
#endif
	};
	struct resp_reader *r = mem_zalloc(1, sizeof(*r));

	r->bytes_max = bytes_max;
	r->hiredis = redisReaderCreateWithFunctions(&functions);
	if (!r->hiredis)
		abort(); /* out of memory, as in mem.c */
	r->hiredis->privdata = r;
	/* The default gives the buffer back above 16 KB: a malloc per larger message. */
	r->hiredis->maxbuf = RESP_KEEP_BYTES;
	return r;
}

void resp_reader_free(struct resp_reader *r)
{
	if (!r)
		return;
	redisReaderFree(r->hiredis);
	free(r->nodes);
	free(r->places);
	buf_deinit(&r->passed);
	buf_deinit(&r->bytes);
	free(r);
}

static enum err broken(struct resp_reader *r, const char *why)
{
	r->why = why;
	return ERR_IO;
}

/* `length` is whole: take the string it announces, or turn it into an integer. */
static enum err begin_string(struct resp_reader *r)
{
	uint64_t n = 0;

	r->framing = FRAMING_TYPE; /* "$-1", or what hiredis will refuse */
	for (size_t i = 1; i < r->length_n && r->length[i] != '\r'; i++) {
		if (r->length[i] < '0' || r->length[i] > '9') {
			buf_append(&r->passed, r->length, r->length_n);
			return ERR_OK;
		}
		if (n > UINT32_MAX)
			return broken(r, "a string of more than 4 GB");
		n = n * 10 + (uint64_t)(r->length[i] - '0');
	}
	r->left = n + 2;
	r->framing = FRAMING_STRING;
	if (n > r->bytes_max) {
		r->framing = FRAMING_SKIP;
		r->length[0] = ':';
	}
	buf_append(&r->passed, r->length, r->length_n);
	return ERR_OK;
}

/* Take some of `n` bytes; *taken says how many. */
static enum err take(struct resp_reader *r, const uint8_t *p, size_t n, size_t *taken)
{
	const uint8_t *end;
	enum framing was = r->framing;

	switch (was) {
	case FRAMING_TYPE:
		*taken = 0;
		r->framing = *p == '$' ? FRAMING_LENGTH : FRAMING_LINE;
		r->length_n = r->line_n = 0;
		return ERR_OK;
	case FRAMING_LINE:
		end = memchr(p, '\n', n);
		*taken = end ? (size_t)(end - p) + 1 : n;
		r->line_n += *taken;
		if (r->line_n > RESP_LINE_MAX)
			return broken(r, "a line that is too long");
		if (end)
			r->framing = FRAMING_TYPE;
		buf_append(&r->passed, p, *taken);
		return ERR_OK;
	case FRAMING_LENGTH:
		*taken = 1;
		if (r->length_n == sizeof(r->length))
			return broken(r, "a length that is too long");
		r->length[r->length_n++] = (char)*p;
		return *p == '\n' ? begin_string(r) : ERR_OK;
	case FRAMING_STRING:
	case FRAMING_SKIP:
		*taken = n < r->left ? n : (size_t)r->left;
		r->left -= *taken;
		if (r->left == 0)
			r->framing = FRAMING_TYPE;
		if (was == FRAMING_STRING)
			buf_append(&r->passed, p, *taken);
		return ERR_OK;
	}
	return ERR_IO;
}

enum err resp_reader_feed(struct resp_reader *r, const uint8_t *p, size_t n)
{
	enum err err = ERR_OK;

	while (n && !err) {
		size_t taken = 0;

		err = take(r, p, n, &taken);
		p += taken;
		n -= taken;
	}
	/* At once: hiredis takes its time for each piece. */
	if (!err && r->passed.n &&
	    redisReaderFeed(r->hiredis, (const char *)r->passed.p, r->passed.n) !=
		    REDIS_OK)
		err = ERR_IO;
	buf_clear(&r->passed);
	return err;
}

enum err resp_reader_next(struct resp_reader *r, const struct resp **reply)
{
	void *object = NULL;

	/* A reply may come in parts: only a whole one makes room for the next. */
	if (!r->hiredis->reply) {
		r->n = 0;
		buf_clear(&r->bytes);
		buf_trim(&r->bytes, RESP_KEEP_BYTES);
	}
	if (redisReaderGetReply(r->hiredis, &object) != REDIS_OK)
		return ERR_SYNTAX;
	if (!object)
		return ERR_NOT_FOUND;
	for (size_t i = 0; i < r->n; i++) {
		struct resp *node = &r->nodes[i];

		if (node->type == RESP_ARRAY)
			node->v = r->nodes + r->places[i].first;
		else if (node->s.n)
			node->s.p = r->bytes.p + r->places[i].bytes;
	}
	*reply = &r->nodes[0];
	return ERR_OK;
}

const char *resp_reader_why(const struct resp_reader *r)
{
	return r->why ? r->why : r->hiredis->errstr;
}
