/* The files of the chat page, which are part of the program: gateway/page/ and the
 * official client (cmake/client_bundle.cmake). Whether they are served is the setting
 * `page`. Built with GATEHOUSE_PAGE=OFF, there are none. */
#ifndef GATEHOUSE_GATEWAY_PAGE_H
#define GATEHOUSE_GATEWAY_PAGE_H

#include "proto/slice.h"

struct page_file {
	const char *path; /* "/" or "/name", without a query */
	const char *type; /* for Content-Type */
	const uint8_t *p;
	size_t n;
	const char *etag; /* quoted, as the header wants it; changes with the bytes */
};

/* Ended by a row whose path is NULL. */
extern const struct page_file page_files[];

/* The file at `path`, or NULL. Lives as long as the program. */
const struct page_file *page_find(struct slice path);

#endif
