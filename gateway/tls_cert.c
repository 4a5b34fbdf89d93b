#include "gateway/tls_cert.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gateway/config_parts.h"
#include "proto/mem.h"

enum { FILE_MAX = 1000000, CHAIN_MAX = 16, NAMES_SHOWN = 3 };

/* A passphrase is not asked for, on whatever terminal there is. */
static int no_passphrase(char *out, int n, int writing, void *arg)
{
	bool *asked = arg;

	(void)out;
	(void)n;
	(void)writing;
	*asked = true;
	return -1;
}

/* A BIO over a whole file, whose content is in `text`. NULL: `why` has the reason. */
static BIO *open_file(const char *path, struct buf *text, struct buf *why)
{
	const char *wrong = config_file_read(path, FILE_MAX, text);

	if (!wrong && text->n == 0)
		wrong = "it is empty";
	if (wrong) {
		buf_printf(why, "%s cannot be read: %s", config_shown(path), wrong);
		return NULL;
	}
	return BIO_new_mem_buf(text->p, (int)text->n);
}

static bool at_end(void)
{
	unsigned long error = ERR_peek_last_error();

	ERR_clear_error();
	return ERR_GET_LIB(error) == ERR_LIB_PEM &&
	       ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static bool read_certs(struct tls_cert *c, BIO *bio, const char *path, struct buf *why)
{
	bool asked = false;
	X509 *x;

	c->chain = sk_X509_new_null();
	c->leaf = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, &asked);
	if (!c->leaf) {
		buf_printf(why,
			   "%s holds no certificate in PEM form (\"-----BEGIN "
			   "CERTIFICATE-----\")",
			   config_shown(path));
		return false;
	}
	while ((x = PEM_read_bio_X509(bio, NULL, no_passphrase, &asked))) {
		if (sk_X509_num(c->chain) >= CHAIN_MAX || !sk_X509_push(c->chain, x)) {
			X509_free(x);
			buf_printf(why, "%s holds more than %d certificates",
				   config_shown(path), CHAIN_MAX + 1);
			return false;
		}
	}
	if (!at_end()) {
		buf_printf(why, "certificate %d in %s is damaged",
			   sk_X509_num(c->chain) + 2, config_shown(path));
		return false;
	}
	return true;
}

static bool read_key(struct tls_cert *c, BIO *bio, const char *path, struct buf *why)
{
	bool asked = false;

	c->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	ERR_clear_error();
	if (c->key)
		return true;
	buf_printf(why,
		   asked ? "the key in %s has a passphrase; store it without one, for "
			   "the node alone to read"
			 : "%s holds no private key in PEM form (\"-----BEGIN PRIVATE "
			   "KEY-----\")",
		   config_shown(path));
	return false;
}

static uint64_t seconds(const ASN1_TIME *t)
{
	struct tm tm;
	time_t at = ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;

	return at > 0 ? (uint64_t)at : 0;
}

/* Would OpenSSL use them? It refuses keys that are too short, too. */
static bool try(struct tls_cert *c, const char *cert_path, struct buf *why)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	bool good = ctx && SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->chain, 1) &&
		    SSL_CTX_check_private_key(ctx);
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	if (!good)
		buf_printf(why, "OpenSSL refuses the certificate in %s: %s",
			   config_shown(cert_path), reason ? reason : "no reason given");
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return good;
}

static bool read_both(struct tls_cert *c, const char *cert_path, const char *key_path,
		      const char **wrong, struct buf *why)
{
	struct buf cert = BUF_INIT, key = BUF_INIT;
	BIO *cert_bio, *key_bio = NULL;
	bool good;

	*wrong = "tlsCert";
	cert_bio = open_file(cert_path, &cert, why);
	good = cert_bio && read_certs(c, cert_bio, cert_path, why);
	if (good) {
		*wrong = "tlsKey";
		key_bio = open_file(key_path, &key, why);
		good = key_bio && read_key(c, key_bio, key_path, why);
	}
	if (good && X509_check_private_key(c->leaf, c->key) != 1) {
		buf_printf(why, "the key in %s is not that of the certificate in %s",
			   config_shown(key_path), config_shown(cert_path));
		good = false;
	}
	if (good) {
		*wrong = "tlsCert";
		good = try(c, cert_path, why);
	}
	ERR_clear_error();
	BIO_free(cert_bio);
	BIO_free(key_bio);
	buf_deinit(&cert);
	if (key.p)
		explicit_bzero(key.p, key.cap);
	buf_deinit(&key);
	return good;
}

struct tls_cert *tls_cert_load(const char *cert_path, const char *key_path,
			       const char **wrong, struct buf *why)
{
	struct tls_cert *c = mem_zalloc(1, sizeof(*c));

	if (!read_both(c, cert_path, key_path, wrong, why)) {
		tls_cert_free(c);
		return NULL;
	}
	c->valid_from = seconds(X509_get0_notBefore(c->leaf));
	c->valid_to = seconds(X509_get0_notAfter(c->leaf));
	return c;
}

void tls_cert_free(struct tls_cert *c)
{
	if (!c)
		return;
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
	free(c);
}

const char *tls_cert_trouble(const struct tls_cert *c, uint64_t wall_ms)
{
	static char text[64];
	uint64_t now = wall_ms / 1000;
	bool expired = now > c->valid_to;
	time_t at = (time_t)(expired ? c->valid_to : c->valid_from);
	struct tm tm;

	if (!expired && now >= c->valid_from)
		return NULL;
	gmtime_r(&at, &tm);
	strftime(text, sizeof(text),
		 expired ? "expired %Y-%m-%dT%H:%M:%SZ"
			 : "not valid before %Y-%m-%dT%H:%M:%SZ",
		 &tm);
	return text;
}

/* A name or an address it is for; false: it is something else. */
static bool print_name(const GENERAL_NAME *name, struct buf *out)
{
	const ASN1_STRING *value = name->d.ia5;
	const uint8_t *p;
	int n;
	struct address a;
	char text[ADDRESS_TEXT_MAX];

	if (name->type != GEN_DNS && name->type != GEN_IPADD)
		return false;
	p = ASN1_STRING_get0_data(value);
	n = ASN1_STRING_length(value);
	if (name->type == GEN_DNS) {
		buf_append(out, p, (size_t)n);
		return true;
	}
	if (n != 4 && n != 16)
		return false;
	a = n == 4 ? address_v4(p) : address_v6(p);
	buf_str(out, address_print(&a, text));
	return true;
}

void tls_cert_names(const struct tls_cert *c, struct buf *out)
{
	GENERAL_NAMES *names =
		X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
	char subject[256] = "";
	const size_t before = out->n;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && i < NAMES_SHOWN; i++) {
		const size_t at = out->n;

		if (at > before)
			buf_byte(out, ',');
		if (!print_name(sk_GENERAL_NAME_value(names, i), out))
			out->n = at;
	}
	GENERAL_NAMES_free(names);
	if (out->n > before)
		return;
	X509_NAME_oneline(X509_get_subject_name(c->leaf), subject, sizeof(subject));
	buf_str(out, subject);
}
