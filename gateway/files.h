/* Files that are part of the program: those of the chat page, gateway/page/, and those of
 * the official client (cmake/client_bundle.cmake). Whether they are served is what the
 * settings `page` and `serveClient` say. Built with GATEHOUSE_PAGE=OFF, there are none.
 */
#ifndef GATEHOUSE_GATEWAY_FILES_H
#define GATEHOUSE_GATEWAY_FILES_H

#include "proto/slice.h"

struct file {
	const char *path;
	const char *type; /* for Content-Type */
	const uint8_t *p;
	size_t n;
	const char *etag; /* quoted, as the header wants it; changes with the bytes */
};

/* Each ended by a row whose path is NULL. The page needs the client, and has it under a
 * path of its own; the bytes are there once. */
extern const struct file page_files[];	 /* paths are "/" or "/name" */
extern const struct file client_files[]; /* paths are names */

/* The file at `path`, which is without a query, or NULL. Lives as long as the program. */
const struct file *file_find(const struct file *files, struct slice path);

#endif
