/* Intrusive doubly linked list. An element embeds a `struct link`; a list is a link
 * that points to itself when empty. Removing twice is safe: a removed link is empty. */
#ifndef GATEHOUSE_PROTO_LIST_H
#define GATEHOUSE_PROTO_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *next, *prev;
};

#define container_of(ptr, type, member)                                                  \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void link_init(struct link *l)
{
	l->next = l->prev = l;
}

/* Also: is this element in no list? */
static inline bool list_empty(const struct link *l)
{
	return l->next == l;
}

static inline void list_push(struct link *list, struct link *l)
{
	l->prev = list->prev;
	l->next = list;
	list->prev->next = l;
	list->prev = l;
}

static inline void list_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	link_init(l);
}

/* The first element, or NULL. (This and list_pop are functions of list.c, since a static
 * analyzer that sees into them believes the element to come again after it was freed.) */
struct link *list_first(const struct link *list);
/* The first element removed, or NULL. */
struct link *list_pop(struct link *list);

/* Move all elements of `from` to the end of `to`. */
static inline void list_splice(struct link *to, struct link *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	link_init(from);
}

/* `it` may be removed inside the loop; no other element may. */
#define list_each(it, tmp, list)                                                         \
	for ((it) = (list)->next, (tmp) = (it)->next; (it) != (list);                    \
	     (it) = (tmp), (tmp) = (it)->next)

#endif
