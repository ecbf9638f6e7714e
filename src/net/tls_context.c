/* What the server shows and demands in handshakes: certificate, key, versions, client roots. */
#include "net/tls_private.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PEM_BYTES_MAX = 4 * 1024 * 1024, /* a bundle of all public roots has a quarter of a megabyte */
    SESSION_S = 24 * 3600,           /* how long a ticket is good */
};

struct tls {
    pthread_mutex_t lock; /* guards `context` */
    SSL_CTX *context;
};

/* One tls_load. */
struct load {
    const struct tls_config *config;
    struct arena *a;
    struct error *why;
    SSL_CTX *context;
};

static void context_cleanup(SSL_CTX **c)
{
    SSL_CTX_free(*c);
}
static void bio_cleanup(BIO **b)
{
    BIO_free(*b);
}
static void key_cleanup(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}
static void certificate_cleanup(X509 **c)
{
    X509_free(*c);
}
static void chain_cleanup(STACK_OF(X509) * *s)
{
    sk_X509_pop_free(*s, X509_free);
}
static void fd_cleanup(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define CLEANUP(fn) __attribute__((cleanup(fn)))

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "no reason given";
}

/* Files. */

static enum err unreadable(struct load *l, const char *option, str path, int errnum)
{
    if (errnum == EACCES)
        return error_set(l->a, l->why, ERR_CONFIG,
                         "%s: \"%.*s\" cannot be read by the server, which runs as user %u: %s",
                         option, STR_ARG(path), (unsigned)geteuid(), strerrordesc_np(errnum));
    return error_set(l->a, l->why, ERR_CONFIG, "%s: \"%.*s\" cannot be read: %s", option,
                     STR_ARG(path), strerrordesc_np(errnum));
}

static enum err read_pem(struct load *l, const char *option, str path, BIO **ret)
{
    CLEANUP(fd_cleanup) int fd = open(arena_cstr(l->a, path), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return unreadable(l, option, path, errno);
    if (!S_ISREG(st.st_mode))
        return error_set(l->a, l->why, ERR_CONFIG, "%s: \"%.*s\" is not a file", option,
                         STR_ARG(path));
    if (st.st_size > PEM_BYTES_MAX)
        return error_set(l->a, l->why, ERR_CONFIG, "%s: \"%.*s\" is too large for a PEM file",
                         option, STR_ARG(path));
    char *bytes = arena_alloc(l->a, (size_t)st.st_size + 1);
    size_t n = 0;
    while (n < (size_t)st.st_size) {
        ssize_t got = read(fd, bytes + n, (size_t)st.st_size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return unreadable(l, option, path, errno);
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *ret = BIO_new_mem_buf(bytes, (int)n);
    if (!*ret)
        abort();
    return OK;
}

static enum err not_pem(struct load *l, const char *option, str path, const char *what)
{
    return error_set(l->a, l->why, ERR_CONFIG,
                     "%s: \"%.*s\" holds no %s in PEM form (text between -----BEGIN and -----END "
                     "lines)",
                     option, STR_ARG(path), what);
}

/* All certificates of a file, at least one. */
static enum err read_certificates(struct load *l, const char *option, str path,
                                  STACK_OF(X509) * *ret)
{
    CLEANUP(bio_cleanup) BIO *bio = NULL;
    CLEANUP(chain_cleanup) STACK_OF(X509) *all = sk_X509_new_null();
    enum err e = read_pem(l, option, path, &bio);
    if (e)
        return e;
    ERR_clear_error();
    for (X509 *c; (c = PEM_read_bio_X509(bio, NULL, NULL, NULL));)
        if (!sk_X509_push(all, c))
            abort();
    /* The end of the text is reported as a missing BEGIN line. */
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (sk_X509_num(all) == 0 && ended)
        return not_pem(l, option, path, "certificate");
    if (!ended)
        return error_set(l->a, l->why, ERR_CONFIG, "%s: certificate %d in \"%.*s\" is damaged: %s",
                         option, sk_X509_num(all) + 1, STR_ARG(path), reason());
    *ret = all;
    all = NULL;
    return OK;
}

static int refuse_password(char *buf, int size, int writing, void *asked)
{
    (void)buf, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static enum err read_key(struct load *l, EVP_PKEY **ret)
{
    CLEANUP(bio_cleanup) BIO *bio = NULL;
    bool asked = false;
    str path = l->config->key;
    enum err e = read_pem(l, "tls.key", path, &bio);
    if (e)
        return e;
    ERR_clear_error();
    *ret = PEM_read_bio_PrivateKey(bio, NULL, refuse_password, &asked);
    if (*ret)
        return OK;
    if (asked)
        return error_set(l->a, l->why, ERR_CONFIG,
                         "tls.key: the key in \"%.*s\" is encrypted; decrypt it with: openssl pkey "
                         "-in %.*s -out NEW",
                         STR_ARG(path), STR_ARG(path));
    if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE || ERR_peek_last_error() == 0)
        return not_pem(l, "tls.key", path, "private key");
    return error_set(l->a, l->why, ERR_CONFIG, "tls.key: the key in \"%.*s\" is damaged: %s",
                     STR_ARG(path), reason());
}

static int64_t seconds(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

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
    CLEANUP(chain_cleanup) STACK_OF(X509) *all = NULL;
    CLEANUP(key_cleanup) EVP_PKEY *key = NULL;
    enum err e = read_certificates(l, "tls.cert", l->config->cert, &all);
    if (!e)
        e = read_key(l, &key);
    if (e)
        return e;
    ERR_clear_error();
    if (X509_check_private_key(sk_X509_value(all, 0), key) != 1)
        return mismatch(l, all, key);
    CLEANUP(certificate_cleanup) X509 *own = sk_X509_shift(all);
    ret->not_before_s = seconds(X509_get0_notBefore(own));
    ret->not_after_s = seconds(X509_get0_notAfter(own));
    ERR_clear_error();
    if (SSL_CTX_use_cert_and_key(l->context, own, key, all, 1) == 1)
        return OK;
    return error_set(l->a, l->why, ERR_CONFIG, "tls.cert: \"%.*s\" cannot be used: %s",
                     STR_ARG(l->config->cert), reason());
}

/* Clients. */

/* A ticket is good only where the same clients are let in: what decides that is its context. */
static void bind_sessions(struct load *l, STACK_OF(X509) * roots)
{
    unsigned char id[SHA256_DIGEST_LENGTH];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    const char mode = (char)l->config->client_auth;
    bool ok = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) &&
              EVP_DigestUpdate(hash, &mode, sizeof mode);
    for (int i = 0; ok && roots && i < sk_X509_num(roots); i++) {
        unsigned char one[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        ok = X509_digest(sk_X509_value(roots, i), EVP_sha256(), one, &n) &&
             EVP_DigestUpdate(hash, one, n);
    }
    if (!ok || !EVP_DigestFinal_ex(hash, id, NULL) ||
        !SSL_CTX_set_session_id_context(l->context, id, sizeof id))
        abort();
    EVP_MD_CTX_free(hash);
}

static enum err use_client_ca(struct load *l)
{
    CLEANUP(chain_cleanup) STACK_OF(X509) *roots = NULL;
    const struct tls_config *config = l->config;
    if (config->client_auth == TLS_CLIENT_AUTH_OFF) {
        bind_sessions(l, NULL);
        return OK;
    }
    enum err e = read_certificates(l, "tls.client_ca", config->client_ca, &roots);
    if (e)
        return e;
    for (int i = 0; i < sk_X509_num(roots); i++) {
        X509 *root = sk_X509_value(roots, i);
        if (!X509_STORE_add_cert(SSL_CTX_get_cert_store(l->context), root) ||
            !SSL_CTX_add_client_CA(l->context, root))
            return error_set(l->a, l->why, ERR_CONFIG, "tls.client_ca: \"%.*s\" cannot be used: %s",
                             STR_ARG(config->client_ca), reason());
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
    bool ok = SSL_CTX_set_min_proto_version(
                  c, config->version_min == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) &&
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
    /* Without it each record costs two reads. */
    SSL_CTX_set_read_ahead(c, 1);
    /* Sessions live in tickets, which cost the server nothing. One is enough: each connection that
     * resumes gets the next. */
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(c, 1);
    SSL_CTX_set_timeout(c, SESSION_S);
    SSL_CTX_set_alpn_select_cb(c, choose_protocol, config->http2 ? c : NULL);
}

struct tls *tls_new(void)
{
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->context);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

enum err tls_load(struct tls *t, const struct tls_config *config, struct tls_info *ret,
                  struct arena *a, struct error *why)
{
    CLEANUP(context_cleanup) SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context)
        abort();
    struct load l = {.config = config, .a = a, .why = why, .context = context};
    struct tls_info info;
    use_protocol(context, config);
    enum err e = use_certificate(&l, &info);
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
