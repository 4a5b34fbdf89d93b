#include "adapter/redis/presence_op.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"

enum {
	BACKLOG_BYTES_MAX = 1024 * 1024,
	OWED_MAX = 4096,   /* then all is removed and added again instead */
	LIST_GHOSTS = 1000 /* removed by one call of a script, which blocks Redis */
};

enum op_kind { OP_ADD, OP_REMOVE, OP_LIST };

struct op {
	struct redis_call call; /* its link is also that of `waiting` and `again` */
	struct redis_presence *presence;
	enum op_kind kind;
	bool written; /* once, at least */
	bool owed;    /* OP_REMOVE: answered already, to be done all the same */
	struct done done;
	uint64_t deadline_ms;
	size_t limit, cost;
	struct slice room;	/* <nsp>#<room>, in `bytes` like the others */
	struct slice sid, user; /* of OP_LIST: sid is the lower bound */
	uint8_t bytes[];
};

static void on_op_reply(struct redis_call *call, const struct resp *r);

static struct op *op_of(struct link *l)
{
	return container_of(l, struct op, call.link);
}

static struct slice put(uint8_t **at, struct slice s)
{
	struct slice copy = {*at, s.n};

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static void op_free(struct op *op)
{
	struct redis_presence *p = op->presence;

	assert(p->bytes >= op->cost);
	p->bytes -= op->cost;
	if (op->owed)
		p->owed--;
	free(op);
}

/* Queue it; NULL: refused, and the answer is on its way. */
static struct op *ask(struct redis_presence *p, enum op_kind kind, struct slice nsp,
		      struct slice room, struct slice sid, struct slice user,
		      struct done done)
{
	struct redis_core *c = p->core;
	size_t n = nsp.n + 1 + room.n + sid.n + user.n;
	size_t cost = sizeof(struct op) + n;
	struct op *op;
	uint8_t *at;

	/* While Redis answers it is not for us to bound what the gateway has members for:
	 * after on_presence_lost it asks for all of them at once. */
	if (c->closing || (p->state != PRESENCE_OPEN &&
			   p->bytes + cost > c->options.publish_waiting_bytes_max)) {
		p->doubtful |= kind == OP_REMOVE || (kind == OP_ADD && !done.count);
		redis_core_later(c, done, c->closing ? ERR_CLOSED : ERR_FULL);
		return NULL;
	}
	op = mem_zalloc(1, sizeof(*op) + n);
	at = op->bytes;
	op->call = (struct redis_call){.on_reply = on_op_reply};
	op->presence = p;
	op->kind = kind;
	op->done = done;
	op->deadline_ms = redis_core_now(c) + c->options.publish_wait_ms_max;
	op->cost = cost;
	op->room = put(&at, nsp);
	put(&at, SLICE_LIT("#"));
	put(&at, room);
	op->room.n = nsp.n + 1 + room.n;
	op->sid = put(&at, sid);
	op->user = put(&at, user);
	p->bytes += cost;
	list_push(&p->waiting, &op->call.link);
	return op;
}

void redis_presence_add(struct redis_presence *p, struct slice nsp, struct slice room,
			const struct adapter_member *m, struct done done)
{
	assert(m->sid.n == ID_LEN);
	ask(p, OP_ADD, nsp, room, m->sid, m->user, done);
}

void redis_presence_remove(struct redis_presence *p, struct slice nsp, struct slice room,
			   const struct adapter_member *m, struct done done)
{
	assert(m->sid.n == ID_LEN);
	ask(p, OP_REMOVE, nsp, room, m->sid, SLICE_EMPTY, done);
}

/* Append the first string that sorts behind all that begin with `s`: its last byte that
 * can grow grown by one. Nothing if there is none. */
static void put_successor(struct buf *out, struct slice s)
{
	while (s.n && s.p[s.n - 1] == 0xff)
		s.n--;
	buf_slice(out, s);
	if (s.n)
		out->p[out->n - 1]++;
}

void redis_presence_list(struct redis_presence *p, struct slice nsp, struct slice room,
			 struct slice after, size_t limit, struct done done)
{
	struct buf bound = BUF_INIT;
	struct op *op;

	/* Members are <sid><user>: behind an id means behind all that begin with it. A
	 * shorter `after` sorts before the ids it begins. */
	if (after.n >= ID_LEN) {
		buf_byte(&bound, '[');
		put_successor(&bound, slice_of(after.p, ID_LEN));
		if (bound.n == 1)
			buf_byte(&bound, 0xff);
	} else if (after.n) {
		buf_byte(&bound, '(');
		buf_slice(&bound, after);
	} else {
		buf_byte(&bound, '-');
	}
	op = ask(p, OP_LIST, nsp, room, buf_view(&bound), SLICE_EMPTY, done);
	buf_deinit(&bound);
	if (op)
		op->limit = limit;
}

static void write_room_keys(struct redis_presence *p, struct buf *out, struct slice room)
{
	static const char *const kinds[] = {"members:", "guests:"};

	for (size_t i = 0; i < 2; i++) {
		buf_clear(&p->scratch);
		buf_slice(&p->scratch, buf_view(&p->prefix));
		buf_str(&p->scratch, kinds[i]);
		buf_slice(&p->scratch, room);
		resp_word(out, buf_view(&p->scratch));
	}
}

static struct slice successor(struct redis_presence *p, struct slice sid)
{
	buf_clear(&p->scratch);
	put_successor(&p->scratch, sid);
	return buf_view(&p->scratch);
}

static void write_op(struct redis_presence *p, struct op *op)
{
	struct buf *out = redis_link_out(p->link);
	const char *code = p->core->base.node_code;

	op->written = true;
	switch (op->kind) {
	case OP_ADD:
		redis_scripts_call(p->scripts, SCRIPT_PRESENCE_ADD, 4, 7);
		write_room_keys(p, out, op->room);
		resp_word(out, buf_view(&p->nodes));
		resp_word(out, buf_view(&p->node_rooms));
		resp_word_str(out, code);
		resp_word_u64(out, p->core->options.presence_lease_ms);
		resp_word(out, op->room);
		resp_word(out, op->sid);
		resp_word(out, successor(p, op->sid));
		resp_word(out, op->user);
		resp_word(out, buf_view(&p->prefix));
		break;
	case OP_REMOVE:
		redis_scripts_call(p->scripts, SCRIPT_PRESENCE_REMOVE, 3, 4);
		write_room_keys(p, out, op->room);
		resp_word(out, buf_view(&p->node_rooms));
		resp_word_str(out, code);
		resp_word(out, op->room);
		resp_word(out, op->sid);
		resp_word(out, successor(p, op->sid));
		break;
	case OP_LIST:
		redis_scripts_call(p->scripts, SCRIPT_PRESENCE_LIST, 3, 4);
		write_room_keys(p, out, op->room);
		resp_word(out, buf_view(&p->nodes));
		resp_word_str(out, code);
		resp_word(out, op->sid);
		resp_word_u64(out, op->limit);
		resp_word_u64(out, presence_spares(p) ? 0 : LIST_GHOSTS);
		break;
	}
	redis_link_expect(p->link, &op->call);
}

void presence_ops_write(struct redis_presence *p)
{
	struct link *l;

	while (redis_link_backlog(p->link) < BACKLOG_BYTES_MAX &&
	       (l = list_pop(&p->waiting)))
		write_op(p, op_of(l));
}

void presence_ops_requeue(struct redis_presence *p)
{
	list_splice(&p->again, &p->waiting);
	list_splice(&p->waiting, &p->again);
}

void presence_ops_forget_owed(struct redis_presence *p)
{
	struct link *it, *tmp;

	list_each(it, tmp, &p->waiting)
	{
		if (op_of(it)->owed) {
			list_remove(it);
			op_free(op_of(it));
		}
	}
}

/* The first `n` bytes of `s`, or all there are; they are taken off. */
static struct slice cut(struct slice *s, size_t n)
{
	struct slice start = slice_of(s->p, s->n < n ? s->n : n);

	*s = slice_skip(*s, start.n);
	return start;
}

struct adapter_member presence_member_of(struct slice s)
{
	bool guest = slice_starts(s, SLICE_LIT("!"));
	struct adapter_member m;

	s = slice_skip(s, guest);
	m.sid = cut(&s, ID_LEN);
	m.node = guest ? cut(&s, NODE_CODE_LEN) : m.sid;
	m.node = cut(&m.node, NODE_CODE_LEN);
	m.user = s;
	return m;
}

static bool is_before(const struct resp *a, const struct resp *b)
{
	return slice_cmp(presence_member_of(a->s).sid, presence_member_of(b->s).sid) < 0;
}

/* Two lists in the order of ids become one. */
static void answer_list(struct op *op, const struct resp *r)
{
	const struct resp *home = &r->v[1], *guests = &r->v[2];
	size_t all = home->n + guests->n, n = all < op->limit ? all : op->limit;
	struct adapter_member *members;
	size_t h = 0, g = 0;

	if (!op->done.members)
		return;
	members = mem_zalloc(n, sizeof(*members));
	for (size_t i = 0; i < n; i++) {
		bool guest = h == home->n ||
			     (g < guests->n && is_before(&guests->v[g], &home->v[h]));

		members[i] =
			presence_member_of(guest ? guests->v[g++].s : home->v[h++].s);
	}
	op->done.members(op->done.arg, ERR_OK, (uint64_t)r->v[0].i, members, n, all > n);
	free(members);
}

static bool is_shaped(const struct op *op, const struct resp *r)
{
	switch (op->kind) {
	case OP_ADD:
		return resp_is_array(r, 2);
	case OP_REMOVE:
		return r->type == RESP_INT;
	case OP_LIST:
		return resp_is_array(r, 5) && r->v[1].type == RESP_ARRAY &&
		       r->v[2].type == RESP_ARRAY;
	}
	return false;
}

static void op_refused(struct redis_presence *p, struct op *op, const struct resp *r)
{
	struct done done = op->done;
	bool owed = op->owed;

	presence_complain(
		p, r->type == RESP_ERROR ? r->s : SLICE_LIT("not the expected answer"));
	p->doubtful |= op->kind == OP_REMOVE || (op->kind == OP_ADD && !done.count);
	op_free(op);
	if (!owed)
		done_run(done, ERR_UNAVAILABLE);
}

static void op_done(struct op *op, const struct resp *r)
{
	uint64_t count = (uint64_t)(op->kind == OP_ADD	    ? r->v[0].i
				    : op->kind == OP_REMOVE ? r->i
							    : 0);

	if (op->kind == OP_LIST)
		answer_list(op, r);
	else if (!op->owed && op->done.count)
		op->done.count(op->done.arg, ERR_OK, count);
	op_free(op);
}

/* The order of calls holds even if the scripts vanish under a pipeline, and another node
 * loads them again while it runs: from the first NOSCRIPT until our own load is answered,
 * whatever was in flight is done again, whether it succeeded or not. */
static void on_op_reply(struct redis_call *call, const struct resp *r)
{
	struct op *op = container_of(call, struct op, call);
	struct redis_presence *p = op->presence;
	bool passing = r && r->type == RESP_ERROR && redis_link_is_passing(r->s);

	if (r && redis_scripts_missing(r))
		redis_scripts_reload(p->scripts);
	if (r && op->kind == OP_LIST && is_shaped(op, r))
		presence_announce(p, op->room, &r->v[3]);
	if (r && op->kind == OP_ADD && is_shaped(op, r) && r->v[1].i == 0)
		presence_forgotten(p);
	if (!r || redis_scripts_loading(p->scripts) || passing ||
	    (op->kind == OP_LIST && is_shaped(op, r) && r->v[4].i)) {
		list_push(&p->again, &op->call.link);
		if (passing)
			redis_link_refused(p->link, r->s);
	} else if (is_shaped(op, r)) {
		op_done(op, r);
	} else {
		op_refused(p, op, r);
	}
}

/* An addition came to nothing, or may have. Is it unknown then what Redis should hold?
 * Nobody hears of one without `done`; and of one that was written, it may be done, or may
 * have been of a member that was there before and stays. */
static bool leaves_doubt(const struct op *op)
{
	return op->kind == OP_ADD && (op->written || !op->done.count);
}

/* It has waited for too long. Removals are kept, to make good when Redis is back. */
static void give_up(struct redis_presence *p, struct op *op)
{
	struct done done = op->done;

	p->doubtful |= leaves_doubt(op);
	if (op->kind == OP_REMOVE) {
		op->owed = true;
		p->owed++;
	}
	if (!op->owed || p->owed > OWED_MAX) {
		p->doubtful |= op->owed;
		list_remove(&op->call.link);
		op_free(op);
	}
	/* Later, since the callee may change the list that is being walked. */
	redis_core_later(p->core, done, ERR_UNAVAILABLE);
}

void redis_presence_tick(struct redis_presence *p, uint64_t now)
{
	struct link *it, *tmp;

	/* The next turn writes it. */
	if (p->state == PRESENCE_OPEN && redis_link_backlog(p->link) < BACKLOG_BYTES_MAX)
		return;
	list_each(it, tmp, &p->waiting)
	{
		struct op *op = op_of(it);

		if (op->owed)
			continue;
		if (now < op->deadline_ms)
			break; /* so have all behind it: they were asked for later */
		give_up(p, op);
	}
}

void redis_presence_abandon(struct redis_presence *p)
{
	struct link *l;

	list_splice(&p->again, &p->waiting);
	while ((l = list_pop(&p->again))) {
		struct op *op = op_of(l);

		if (!op->owed)
			redis_core_later(p->core, op->done, ERR_CLOSED);
		op_free(op);
	}
}
