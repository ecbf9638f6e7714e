/* What the server shows and demands in handshakes: certificate, key, versions, client roots. */
#include "net/tls_private.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

struct tls {
    pthread_mutex_t lock; /* guards `context` */
    SSL_CTX *context;
    BIO_METHOD *method;
    struct tickets tickets;
};

/* One tls_load. */
struct load {
    const struct tls_config *config;
    struct arena *a;
    struct error *why;
    SSL_CTX *context;
};

static enum err check(struct load *l)
{
    const struct tls_config *config = l->config;
    bool asks = config->client_auth != TLS_CLIENT_AUTH_OFF;
    if (config->cert.n == 0)
        return error_set(l->a, l->why, ERR_CONFIG,
                         "tls.key is set, but tls.cert is not; give both, or neither");
    if (config->key.n == 0)
        return error_set(l->a, l->why, ERR_CONFIG,
                         "tls.cert is set, but tls.key is not; give both, or neither");
    if (asks && config->client_ca.n == 0)
        return error_set(l->a, l->why, ERR_CONFIG,
                         "tls.client_auth needs tls.client_ca, the certificates that those of "
                         "clients must be signed by");
    if (!asks && config->client_ca.n > 0)
        return error_set(l->a, l->why, ERR_CONFIG,
                         "tls.client_ca is set, but tls.client_auth is off; make it optional or "
                         "required, or leave tls.client_ca empty");
    return OK;
}

/* The certificate. */

static enum err mismatch(struct load *l, STACK_OF(X509) * all, EVP_PKEY *key)
{
    const struct tls_config *config = l->config;
    for (int i = 1; i < sk_X509_num(all); i++)
        if (X509_check_private_key(sk_X509_value(all, i), key) == 1)
            return error_set(l->a, l->why, ERR_CONFIG,
                             "tls.cert: the certificate of the key is number %d in \"%.*s\"; it "
                             "must be the first, those that signed it after it",
                             i + 1, STR_ARG(config->cert));
    return error_set(l->a, l->why, ERR_CONFIG,
                     "tls.key: the key in \"%.*s\" does not belong to the certificate in \"%.*s\"",
                     STR_ARG(config->key), STR_ARG(config->cert));
}

static enum err use_certificate(struct load *l, struct tls_info *ret)
{
    const struct tls_config *config = l->config;
    CLEANUP(chain) STACK_OF(X509) *all = NULL;
    CLEANUP(key) EVP_PKEY *key = NULL;
    CLEANUP(certificate) X509 *own = NULL;
    enum err e = pem_read_certificates("tls.cert", config->cert, &all, l->a, l->why);
    if (!e)
        e = pem_read_key("tls.key", config->key, &key, l->a, l->why);
    if (e)
        return e;
    ERR_clear_error();
    if (X509_check_private_key(sk_X509_value(all, 0), key) != 1)
        return mismatch(l, all, key);
    own = sk_X509_shift(all);
    ret->not_before_s = tls_seconds(X509_get0_notBefore(own));
    ret->not_after_s = tls_seconds(X509_get0_notAfter(own));
    ERR_clear_error();
    if (SSL_CTX_use_cert_and_key(l->context, own, key, all, 1) == 1)
        return OK;
    return error_set(l->a, l->why, ERR_CONFIG, "tls.cert: \"%.*s\" cannot be used: %s",
                     STR_ARG(config->cert), tls_reason());
}

/* Clients. */

/* A resumed session is not verified again: it is good only where the same clients are let in. */
static void bind_sessions(struct load *l, STACK_OF(X509) * roots)
{
    unsigned char id[SHA256_DIGEST_LENGTH], one[SHA256_DIGEST_LENGTH];
    const char mode = (char)l->config->client_auth;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool ok = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) &&
              EVP_DigestUpdate(hash, &mode, sizeof mode);
    for (int i = 0; ok && roots && i < sk_X509_num(roots); i++)
        ok = X509_digest(sk_X509_value(roots, i), EVP_sha256(), one, NULL) &&
             EVP_DigestUpdate(hash, one, sizeof one);
    if (!ok || !EVP_DigestFinal_ex(hash, id, NULL) ||
        !SSL_CTX_set_session_id_context(l->context, id, sizeof id))
        abort();
    EVP_MD_CTX_free(hash);
}

static enum err use_client_ca(struct load *l)
{
    const struct tls_config *config = l->config;
    CLEANUP(chain) STACK_OF(X509) *roots = NULL;
    if (config->client_auth == TLS_CLIENT_AUTH_OFF) {
        bind_sessions(l, NULL);
        return OK;
    }
    enum err e = pem_read_certificates("tls.client_ca", config->client_ca, &roots, l->a, l->why);
    if (e)
        return e;
    for (int i = 0; i < sk_X509_num(roots); i++) {
        X509 *root = sk_X509_value(roots, i);
        if (!X509_STORE_add_cert(SSL_CTX_get_cert_store(l->context), root) ||
            !SSL_CTX_add_client_CA(l->context, root))
            return error_set(l->a, l->why, ERR_CONFIG, "tls.client_ca: \"%.*s\" cannot be used: %s",
                             STR_ARG(config->client_ca), tls_reason());
    }
    bool required = config->client_auth == TLS_CLIENT_AUTH_REQUIRED;
    SSL_CTX_set_verify(l->context,
                       SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    bind_sessions(l, roots);
    return OK;
}

/* Protocol. */

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                           const unsigned char *in, unsigned in_n, void *http2)
{
    (void)ssl;
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    const unsigned char *from = http2 ? ours : ours + 3;
    unsigned n = (unsigned)(ours + sizeof ours - 1 - from);
    /* RFC 7301 3.2: nothing in common is fatal, lest a client of another protocol talks to us. */
    return SSL_select_next_proto((unsigned char **)out, out_n, from, n, in, in_n) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void use_protocol(SSL_CTX *c, const struct tls_config *config)
{
    int least = config->version_min == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    bool ok = SSL_CTX_set_min_proto_version(c, least) &&
              SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") &&
              SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                          "TLS_CHACHA20_POLY1305_SHA256") &&
              SSL_CTX_set1_groups_list(c, "X25519:P-256:P-384");
    if (!ok)
        abort();
    /* Our order, in which the fastest comes first, but for clients that are faster without AES. */
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(c, 1); /* without it each record costs two reads */
    SSL_CTX_set_alpn_select_cb(c, choose_protocol, config->http2 ? c : NULL);
}

/* Life. */

struct tls *tls_new(void)
{
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    pthread_mutex_init(&t->lock, NULL);
    t->method = tls_socket_method();
    tickets_init(&t->tickets);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->context);
    BIO_meth_free(t->method);
    tickets_release(&t->tickets);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

enum err tls_load(struct tls *t, const struct tls_config *config, struct tls_info *ret,
                  struct arena *a, struct error *why)
{
    CLEANUP(context) SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context)
        abort();
    struct load l = {.config = config, .a = a, .why = why, .context = context};
    struct tls_info info;
    use_protocol(context, config);
    tickets_use(&t->tickets, context);
    enum err e = check(&l);
    if (!e)
        e = use_certificate(&l, &info);
    if (!e)
        e = use_client_ca(&l);
    if (e)
        return e;
    pthread_mutex_lock(&t->lock);
    SSL_CTX *before = t->context;
    t->context = context;
    pthread_mutex_unlock(&t->lock);
    context = before;
    *ret = info;
    return OK;
}

SSL *tls_session(struct tls *t)
{
    pthread_mutex_lock(&t->lock);
    SSL *ssl = SSL_new(t->context);
    pthread_mutex_unlock(&t->lock);
    if (!ssl)
        abort();
    return ssl;
}

BIO_METHOD *tls_method(struct tls *t)
{
    return t->method;
}

void tls_rotate_tickets(struct tls *t)
{
    tickets_rotate(&t->tickets);
}
