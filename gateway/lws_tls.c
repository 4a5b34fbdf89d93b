/* TLS listeners: their vhost, and the certificate it shows, which can be replaced while
 * connections go on.
 *
 * lws would load the files itself, but into the one SSL_CTX that all handshakes use: a
 * half-written or wrong file would be noticed when the old one is gone, and one of
 * another kind (RSA, ECDSA) would not replace it but stand beside it. So the SSL_CTX has
 * no certificate, and each handshake is given the one that was read last. */
#include <assert.h>
#include <stdlib.h>

#include "gateway/log.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "gateway/tls_cert.h"
#include "proto/mem.h"

enum { DAY_S = 24 * 60 * 60 };

struct tls {
	struct tls_cert *cert;
	SSL_CTX *ctx; /* lws's */
	uint32_t generation;
};

/* OpenSSL asks which certificate to show. 1: that is done. */
static int on_cert_wanted(SSL *ssl, void *arg)
{
	const struct tls *t = arg;

	SSL_certs_clear(ssl);
	return SSL_use_cert_and_key(ssl, t->cert->leaf, t->cert->key, t->cert->chain, 1);
}

/* A session is taken up again only with the certificate it began with, or the old one
 * would live on in them. */
static void use(struct tls *t, struct tls_cert *cert)
{
	unsigned char id[sizeof(t->generation)];

	tls_cert_free(t->cert);
	t->cert = cert;
	t->generation++;
	memcpy(id, &t->generation, sizeof(id));
	SSL_CTX_set_session_id_context(t->ctx, id, sizeof(id));
}

int lws_tls_on_context(struct server *s, void *ssl_ctx)
{
	struct tls *t = s->tls;
	const char *oldest = s->node->config->tls_min_version;

	if (!t)
		return 0;
	t->ctx = ssl_ctx;
	SSL_CTX_set_min_proto_version(
		t->ctx, strcmp(oldest, "1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
	/* Renegotiation costs us more than the client. */
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION);
	/* Sessions are in tickets, which the clients keep; a cache of ours would hold up
	 * to 20,000 for those that do not know tickets. */
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
	/* lws would choose a vhost by the name the client asks for. */
	SSL_CTX_set_tlsext_servername_callback(t->ctx, NULL);
	SSL_CTX_set_cert_cb(t->ctx, on_cert_wanted, t);
	return 0;
}

static void log_cert(const struct node *n, const struct tls_cert *cert, const char *id)
{
	uint64_t now = env_wall_ms(n->env);
	const char *trouble = tls_cert_trouble(cert, now);
	struct buf names = BUF_INIT;
	uint64_t left_s = cert->valid_to > now / 1000 ? cert->valid_to - now / 1000 : 0;

	tls_cert_names(cert, &names);
	log_event(LOG_INFO, id, "names=%s days_left=%llu", buf_cstr(&names),
		  (unsigned long long)(left_s / DAY_S));
	if (trouble)
		log_event(LOG_WARN, "tls_certificate_invalid",
			  "names=%s msg=the certificate of tlsCert is of no use to "
			  "clients: %s; put a good one there and send SIGHUP",
			  buf_cstr(&names), trouble);
	buf_deinit(&names);
}

static struct tls_cert *load(const struct node *n, struct buf *error)
{
	struct buf why = BUF_INIT;
	const char *wrong;
	struct tls_cert *cert =
		tls_cert_load(n->config->tls_cert, n->config->tls_key, &wrong, &why);

	if (!cert)
		buf_printf(error, "%s: %s", wrong, buf_cstr(&why));
	buf_deinit(&why);
	return cert;
}

bool lws_tls_open(struct server *s, struct buf *error)
{
	struct tls_cert *cert;

	if (s->tls)
		return true;
	cert = load(s->node, error);
	if (!cert)
		return false;
	s->tls = mem_zalloc(1, sizeof(*s->tls));
	s->tls_vhost = lws_server_new_vhost(s, true);
	if (!s->tls_vhost || !s->tls->ctx) {
		buf_str(error, "libwebsockets could not set TLS up");
		tls_cert_free(cert);
		return false;
	}
	use(s->tls, cert);
	log_cert(s->node, cert, "tls_certificate");
	s->node->metrics.tls_cert_expires = cert->valid_to;
	return true;
}

void server_reload(struct server *s)
{
	struct node *n = s->node;
	struct buf why = BUF_INIT;
	struct tls_cert *cert;
	const char *trouble;

	if (!s->tls)
		return;
	cert = load(n, &why);
	trouble = cert ? tls_cert_trouble(cert, env_wall_ms(n->env)) : NULL;
	/* At the start there is no better one; now there is. */
	if (trouble && !tls_cert_trouble(s->tls->cert, env_wall_ms(n->env))) {
		trouble = tls_cert_trouble(cert, env_wall_ms(n->env));
		buf_printf(&why, "tlsCert: the certificate is of no use to clients: %s",
			   trouble);
		tls_cert_free(cert);
		cert = NULL;
	}
	if (cert) {
		n->metrics.tls_reloads++;
		n->metrics.tls_cert_expires = cert->valid_to;
		use(s->tls, cert);
		log_cert(n, cert, "tls_reloaded");
	} else {
		n->metrics.tls_reloads_failed++;
		log_event(LOG_ERROR, "tls_reload_failed",
			  "msg=%s; the certificate that was there stays in use",
			  buf_cstr(&why));
	}
	buf_deinit(&why);
}

void lws_tls_free(struct server *s)
{
	if (!s->tls)
		return;
	tls_cert_free(s->tls->cert);
	free(s->tls);
	s->tls = NULL;
}
