#include "proto/list.h"

struct link *list_first(const struct link *list)
{
	return list->next == list ? NULL : list->next;
}

struct link *list_pop(struct link *list)
{
	struct link *l = list_first(list);

	if (l)
		list_remove(l);
	return l;
}
