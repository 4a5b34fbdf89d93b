/* A certificate with its chain and private key, as TLS listeners show it. It is read from
 * PEM files and looked at in every way that could make a handshake fail, so that what was
 * read can be used; whoever has one that works keeps it until another was read. */
#ifndef GATEHOUSE_GATEWAY_TLS_CERT_H
#define GATEHOUSE_GATEWAY_TLS_CERT_H

#include <openssl/ssl.h>

#include "proto/buf.h"

struct tls_cert {
	X509 *leaf;
	STACK_OF(X509) * chain; /* without the leaf; may be empty */
	EVP_PKEY *key;
	/* Seconds since 1970; what is before counts as 0. */
	uint64_t valid_from, valid_to;
};

/* NULL: it cannot be used. `*wrong` is then the setting it is about, "tlsCert" or
 * "tlsKey", and `why` gets a sentence. One that has expired, or is not valid yet, can be
 * used. */
struct tls_cert *tls_cert_load(const char *cert_path, const char *key_path,
			       const char **wrong, struct buf *why);
void tls_cert_free(struct tls_cert *c);

/* "expired 2025-12-31T23:59:59Z", "not valid before …", or NULL if neither is so at this
 * time. The text is valid until the next call. */
const char *tls_cert_trouble(const struct tls_cert *c, uint64_t wall_ms);
/* Append whom it is for: its first names, or its subject. */
void tls_cert_names(const struct tls_cert *c, struct buf *out);

#endif
