/* Why something could not be done.
 *
 * Every function that can fail returns `enum err`; its header says which of these it
 * returns and what they mean there. ERR_OK is zero. A peer's mistake is an error; a
 * mistake of ours is an assert. */
#ifndef GATEHOUSE_PROTO_ERR_H
#define GATEHOUSE_PROTO_ERR_H

/* X(name, text): the text completes a sentence such as "could not publish: …". */
#define ERR_TABLE(X)                                                                     \
	X(OK, "no error")                                                                \
	X(SYNTAX, "malformed input")                                                     \
	X(TRUNCATED, "input ends too early")                                             \
	X(DEPTH, "nested too deeply")                                                    \
	X(TOO_BIG, "over a size limit")                                                  \
	X(TOO_MANY, "over a count limit")                                                \
	X(RANGE, "value out of range")                                                   \
	X(FULL, "queue is full")                                                         \
	X(UNAVAILABLE, "backend is unavailable")                                         \
	X(UNCONFIRMED, "backend did not confirm; it may or may not have happened")       \
	X(TIMEOUT, "took too long")                                                      \
	X(DENIED, "not permitted")                                                       \
	X(NOT_FOUND, "not found")                                                        \
	X(EXISTS, "exists already")                                                      \
	X(CLOSED, "closed")                                                              \
	X(LOST, "data was lost")                                                         \
	X(IO, "input/output error")

enum err {
#define ERR_ENUM_(name, text) ERR_##name,
	ERR_TABLE(ERR_ENUM_)
#undef ERR_ENUM_
};

#define MUST_USE __attribute__((warn_unused_result))

/* The text of the table; never NULL. */
const char *err_text(enum err err);

#endif
