#include "base/test.h"
#include "net/tls_private.h"
#include "net/tls_self_signed.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct arena a;

static str path_of(const char *name)
{
    return arena_printf(&a, "%s/%s", test_dir(), name);
}

static str write_file(const char *name, str text)
{
    str path = path_of(name);
    FILE *f = fopen(path.p, "we");
    CHECK(f && fwrite(text.p, 1, text.n, f) == text.n && fclose(f) == 0);
    return path;
}

/* A server's certificate for localhost in files of that name. */
static struct tls_config certificate(const char *name)
{
    const str names[] = {STR("localhost"), STR("127.0.0.1")};
    str cert, key;
    struct error why = {0};
    CHECK_INT(tls_self_signed_make(names, 2, 30, &cert, &key, &a, &why), OK);
    str cert_path = write_file(arena_printf(&a, "%s.crt", name).p, cert);
    return (struct tls_config){.cert = cert_path,
                               .key = write_file(arena_printf(&a, "%s.key", name).p, key)};
}

static struct tls *loaded(const struct tls_config *config)
{
    struct tls *tls = tls_new();
    struct tls_info info;
    struct error why = {0};
    CHECK_INT(tls_load(tls, config, &info, &a, &why), OK);
    CHECK(info.not_after_s > info.not_before_s);
    return tls;
}

/* One connection: the server's side is a transport, the client's is OpenSSL. */
struct pair {
    struct transport server;
    SSL_CTX *context;
    SSL *client;
    int fd;
    char scratch[TRANSPORT_SCRATCH_BYTES];
};

static void pair_open(struct pair *p, struct tls *tls)
{
    int fds[2];
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *p = (struct pair){.fd = fds[1], .context = SSL_CTX_new(TLS_client_method())};
    transport_init_tls(&p->server, fds[0], tls);
    p->server.scratch = p->scratch;
    p->client = SSL_new(p->context);
    SSL_set_fd(p->client, p->fd);
    SSL_set_connect_state(p->client);
}

static void pair_close(struct pair *p)
{
    p->server.ops->close(&p->server);
    transport_release(&p->server);
    SSL_free(p->client);
    SSL_CTX_free(p->context);
    if (p->fd >= 0)
        close(p->fd);
}

/* Both sides in turn, until the server is done or has given up: what it returned last. */
static int shake(struct pair *p)
{
    int n = IO_WAIT_READ;
    for (int turn = 0; turn < 100 && (n == IO_WAIT_READ || n == IO_WAIT_WRITE); turn++) {
        (void)SSL_do_handshake(p->client);
        n = p->server.ops->handshake(&p->server);
    }
    (void)SSL_do_handshake(p->client);
    ERR_clear_error();
    return n;
}

static void client_write(struct pair *p, const char *text)
{
    CHECK_INT(SSL_write(p->client, text, (int)strlen(text)), (int)strlen(text));
}

static void client_expects(struct pair *p, const char *text)
{
    char got[256] = "";
    CHECK_INT(SSL_read(p->client, got, sizeof got - 1), (int)strlen(text));
    CHECK_STR(str_from(got), text);
}

static ssize_t write_text(struct pair *p, const char *one, const char *two)
{
    const struct iovec v[] = {{(void *)one, strlen(one)}, {(void *)two, strlen(two)}};
    return p->server.ops->writev(&p->server, v, *two ? 2 : 1, false);
}

static void speaks(void)
{
    struct tls_config config = certificate("speaks");
    struct tls *tls = loaded(&config);
    struct pair p;
    char bytes[32];
    pair_open(&p, tls);
    CHECK_INT(p.server.ops->handshake(&p.server), IO_WAIT_READ);
    CHECK_INT(shake(&p), 1);
    CHECK(p.server.secure && p.server.buffered && p.server.protocol == PROTOCOL_HTTP1);
    CHECK_INT(p.server.client_subject.n, 0);
    CHECK_INT(SSL_version(p.client), TLS1_3_VERSION);
    CHECK_STR(str_from(SSL_get_cipher_name(p.client)), "TLS_AES_128_GCM_SHA256");

    CHECK_INT(p.server.ops->read(&p.server, bytes, sizeof bytes), IO_WAIT_READ);
    CHECK(!p.server.buffered);
    /* Three records are read at once; a short read has emptied everything. */
    client_write(&p, "one");
    client_write(&p, "two");
    client_write(&p, "three");
    CHECK_INT(p.server.ops->read(&p.server, bytes, sizeof bytes), 11);
    CHECK(!p.server.buffered);
    /* A full one leaves something that no event will tell of. */
    client_write(&p, "0123456789");
    client_write(&p, "x");
    CHECK_INT(p.server.ops->read(&p.server, bytes, 4), 4);
    CHECK(p.server.buffered);
    CHECK_INT(p.server.ops->read(&p.server, bytes, 6), 6);
    CHECK(memcmp(bytes, "456789", 6) == 0);
    CHECK(p.server.buffered);
    CHECK_INT(p.server.ops->read(&p.server, bytes, 6), 1);

    /* A head and a short body are one record. */
    CHECK_INT(write_text(&p, "head", "body"), 8);
    client_expects(&p, "headbody");
    p.server.ops->shutdown_write(&p.server);
    CHECK_INT(SSL_read(p.client, bytes, sizeof bytes), 0);
    CHECK_INT(SSL_get_error(p.client, 0), SSL_ERROR_ZERO_RETURN);
    client_write(&p, "late");
    CHECK_INT(p.server.ops->read(&p.server, bytes, sizeof bytes), 4);
    SSL_shutdown(p.client);
    CHECK_INT(p.server.ops->read(&p.server, bytes, sizeof bytes), IO_END);
    pair_close(&p);
    tls_free(tls);
}

static void broken_off(void)
{
    struct tls_config config = certificate("broken_off");
    struct tls *tls = loaded(&config);
    struct pair p;
    char bytes[8];
    /* Without a word. */
    pair_open(&p, tls);
    close(p.fd);
    CHECK_INT(p.server.ops->handshake(&p.server), IO_END);
    p.fd = -1;
    pair_close(&p);
    /* In the middle. */
    pair_open(&p, tls);
    (void)SSL_do_handshake(p.client);
    CHECK_INT(p.server.ops->handshake(&p.server), IO_WAIT_READ);
    close(p.fd);
    p.fd = -1;
    CHECK_INT(p.server.ops->handshake(&p.server), IO_FAILED);
    pair_close(&p);
    /* Without a goodbye: not an end, for who knows what was cut off. */
    pair_open(&p, tls);
    CHECK_INT(shake(&p), 1);
    client_write(&p, "x");
    close(p.fd);
    p.fd = -1;
    CHECK_INT(p.server.ops->read(&p.server, bytes, sizeof bytes), 1);
    CHECK_INT(p.server.ops->read(&p.server, bytes, sizeof bytes), IO_FAILED);
    CHECK_INT(write_text(&p, "x", ""), IO_FAILED);
    pair_close(&p);
    tls_free(tls);
}

static void cleartext(void)
{
    struct tls_config config = certificate("cleartext");
    struct tls *tls = loaded(&config);
    struct pair p;
    char bytes[8];
    pair_open(&p, tls);
    CHECK_INT(write(p.fd, "GET", 3), 3);
    CHECK_INT(p.server.ops->handshake(&p.server), IO_CLEARTEXT);
    transport_to_tcp(&p.server);
    CHECK(!p.server.secure);
    CHECK_INT(p.server.ops->read(&p.server, bytes, sizeof bytes), 3);
    CHECK(memcmp(bytes, "GET", 3) == 0);
    pair_close(&p);
    tls_free(tls);
}

/* Every byte of both sides arrives alone. */
static void trickles(void)
{
    struct tls_config config = certificate("trickles");
    struct tls *tls = loaded(&config);
    struct pair p;
    int fds[2], n = IO_WAIT_READ;
    char byte, bytes[8];
    pair_open(&p, tls);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    SSL_set_fd(p.client, fds[0]);
    for (int turn = 0; turn < 20000 && n != 1; turn++) {
        (void)SSL_do_handshake(p.client);
        if (read(fds[1], &byte, 1) == 1)
            CHECK_INT(write(p.fd, &byte, 1), 1);
        n = p.server.ops->handshake(&p.server);
        CHECK(n == 1 || n == IO_WAIT_READ);
        if (read(p.fd, &byte, 1) == 1)
            CHECK_INT(write(fds[1], &byte, 1), 1);
    }
    CHECK_INT(n, 1);
    client_write(&p, "word");
    ssize_t got = IO_WAIT_READ;
    for (int turn = 0; turn < 100 && got == IO_WAIT_READ; turn++) {
        if (read(fds[1], &byte, 1) == 1)
            CHECK_INT(write(p.fd, &byte, 1), 1);
        got = p.server.ops->read(&p.server, bytes, sizeof bytes);
    }
    CHECK_INT(got, 4);
    close(fds[0]);
    close(fds[1]);
    pair_close(&p);
    tls_free(tls);
}

/* Records that bring no data: KeyUpdate of TLS 1.3. */

/* So many bytes of them at least go into the client's output, behind what it has. */
static void client_updates_keys(struct pair *p, BIO *out, size_t bytes)
{
    for (size_t end = BIO_ctrl_pending(out) + bytes; BIO_ctrl_pending(out) < end;) {
        CHECK_INT(SSL_key_update(p->client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        CHECK_INT(SSL_do_handshake(p->client), 1);
    }
}

/* Moves output into the socket as far as it has room. */
static void pass_on(struct pair *p, BIO *out)
{
    char *bytes;
    ssize_t sent;
    size_t n;
    while ((n = (size_t)BIO_get_mem_data(out, &bytes)) > 0 &&
           (sent = send(p->fd, bytes, n < sizeof p->scratch ? n : sizeof p->scratch,
                        MSG_NOSIGNAL)) > 0)
        CHECK_INT(BIO_read(out, p->scratch, (int)sent), sent);
}

static size_t unread_bytes(const struct pair *p)
{
    int n = 0;
    CHECK_INT(ioctl(p->server.fd, FIONREAD, &n), 0);
    return (size_t)n;
}

/* After the handshake the client's output is gathered in *out, which is its own. */
static void pair_open_gathering(struct pair *p, struct tls *tls, BIO **out)
{
    pair_open(p, tls);
    CHECK_INT(shake(p), 1);
    *out = BIO_new(BIO_s_mem());
    SSL_set0_wbio(p->client, *out);
}

static void key_updates_take_turns(void)
{
    enum { FLOOD_BYTES = 40000, FLOODS = 3, WANT_BYTES = 4096, TURN_BYTES = 48 * 1024 };
    struct tls_config config = certificate("key_updates");
    struct tls *tls = loaded(&config);
    struct pair p;
    BIO *out;
    char bytes[WANT_BYTES], all[FLOODS + 1] = "";
    size_t n = 0;
    pair_open_gathering(&p, tls, &out);
    for (int i = 0; i < FLOODS; i++) {
        client_updates_keys(&p, out, FLOOD_BYTES);
        CHECK_INT(SSL_write(p.client, &"abc"[i], 1), 1);
    }
    /* One call takes part of it, and nothing is lost. */
    for (int turn = 0; turn < 20 && n < FLOODS; turn++) {
        pass_on(&p, out);
        size_t before = unread_bytes(&p);
        ssize_t got = p.server.ops->read(&p.server, bytes, sizeof bytes);
        CHECK(before - unread_bytes(&p) <= TURN_BYTES);
        CHECK(got == IO_WAIT_READ || got > 0);
        if (got <= 0)
            continue;
        memcpy(all + n, bytes, (size_t)got);
        n += (size_t)got;
    }
    CHECK_STR(str_from(all), "abc");
    pair_close(&p);
    tls_free(tls);
}

static void key_updates_without_end(void)
{
    struct tls_config config = certificate("without_end");
    struct tls *tls = loaded(&config);
    struct pair p;
    BIO *out;
    char bytes[4096];
    size_t taken = 0;
    ssize_t got = IO_WAIT_READ;
    pair_open_gathering(&p, tls, &out);
    client_updates_keys(&p, out, 200000);
    for (int turn = 0; turn < 20 && got == IO_WAIT_READ; turn++) {
        pass_on(&p, out);
        size_t before = unread_bytes(&p);
        got = p.server.ops->read(&p.server, bytes, sizeof bytes);
        taken += before - unread_bytes(&p);
    }
    CHECK_INT(got, IO_FAILED);
    CHECK(taken < 100000);
    pair_close(&p);
    tls_free(tls);
}

static char byte_at(size_t i)
{
    return (char)(i * 7 + i / 251);
}

/* Reads what is there, checks it, and returns how much there is altogether. */
static size_t client_drain(struct pair *p, size_t at, size_t max)
{
    static char bytes[1 << 16];
    int n;
    while (max > 0 &&
           (n = SSL_read(p->client, bytes, (int)(max < sizeof bytes ? max : sizeof bytes))) > 0) {
        for (int i = 0; i < n; i++)
            if (bytes[i] != byte_at(at + (size_t)i)) {
                CHECK_INT(at + (size_t)i, -1);
                return 0;
            }
        at += (size_t)n;
        max -= (size_t)n;
    }
    return at;
}

/* One of three ways to send the next bytes of `all`, which the file holds too. */
static ssize_t send_some(struct pair *p, unsigned way, const char *all, int file, size_t at,
                         size_t left)
{
    size_t some = left < 100000 ? left : 100000, first = some < 333 ? some : 333;
    const struct iovec one = {(char *)all + at, some};
    const struct iovec two[] = {{(char *)all + at, first},
                                {(char *)all + at + first, some - first}};
    if (way == 0)
        return p->server.ops->sendfile(&p->server, file, at, left);
    return way == 1 ? p->server.ops->writev(&p->server, &one, 1, true)
                    : p->server.ops->writev(&p->server, two, 2, false);
}

static void waits_to_write(void)
{
    enum { BYTES = 3 * 1000 * 1000 + 17 };
    static char all[BYTES];
    struct tls_config config = certificate("waits");
    struct tls *tls = loaded(&config);
    struct pair p;
    size_t sent = 0, seen = 0;
    unsigned waited = 0;
    for (size_t i = 0; i < BYTES; i++)
        all[i] = byte_at(i);
    int file = open(write_file("waits", str_make(all, BYTES)).p, O_RDONLY | O_CLOEXEC);
    pair_open(&p, tls);
    CHECK_INT(shake(&p), 1);
    for (unsigned way = 0; sent < BYTES; way = (way + 1) % 3) {
        ssize_t n;
        while ((n = send_some(&p, way, all, file, sent, BYTES - sent)) == IO_WAIT_WRITE) {
            waited++;
            seen = client_drain(&p, seen, 5000);
        }
        CHECK(n > 0);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    CHECK(waited > 0);
    CHECK_INT(client_drain(&p, seen, BYTES), BYTES);
    CHECK_INT(p.server.ops->sendfile(&p.server, file, BYTES, 10), IO_END);
    close(file);
    pair_close(&p);
    tls_free(tls);
}

static int shake_alpn(struct tls *tls, const char *names, enum protocol *ret)
{
    struct pair p;
    pair_open(&p, tls);
    SSL_set_alpn_protos(p.client, (const unsigned char *)names, (unsigned)strlen(names));
    int n = shake(&p);
    *ret = p.server.protocol;
    pair_close(&p);
    return n;
}

static void protocols(void)
{
    struct tls_config config = certificate("protocols");
    enum protocol protocol;
    for (int http2 = 0; http2 < 2; http2++) {
        config.http2 = http2;
        struct tls *tls = loaded(&config);
        CHECK_INT(shake_alpn(tls, "\x08http/1.1\x02h2", &protocol), 1);
        CHECK_INT(protocol, http2 ? PROTOCOL_HTTP2 : PROTOCOL_HTTP1);
        CHECK_INT(shake_alpn(tls, "\x08http/1.1", &protocol), 1);
        CHECK_INT(protocol, PROTOCOL_HTTP1);
        CHECK_INT(shake_alpn(tls, "\x02h2", &protocol), http2 ? 1 : IO_FAILED);
        CHECK_INT(shake_alpn(tls, "\x04smtp", &protocol), IO_FAILED);
        tls_free(tls);
    }
}

static int shake_version(struct tls *tls, int version, const char *ciphers)
{
    struct pair p;
    pair_open(&p, tls);
    SSL_set_security_level(p.client, 0);
    SSL_set_min_proto_version(p.client, version);
    SSL_set_max_proto_version(p.client, version);
    CHECK(!ciphers || SSL_set_cipher_list(p.client, ciphers));
    int n = shake(&p);
    pair_close(&p);
    return n;
}

static void versions(void)
{
    struct tls_config config = certificate("versions");
    struct tls *tls = loaded(&config);
    CHECK_INT(shake_version(tls, TLS1_3_VERSION, NULL), 1);
    CHECK_INT(shake_version(tls, TLS1_2_VERSION, NULL), 1);
    CHECK_INT(shake_version(tls, TLS1_2_VERSION, "ECDHE+CHACHA20"), 1);
    CHECK_INT(shake_version(tls, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA"), IO_FAILED);
    CHECK_INT(shake_version(tls, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256"), IO_FAILED);
    CHECK_INT(shake_version(tls, TLS1_1_VERSION, "ALL:@SECLEVEL=0"), IO_FAILED);
    config.version_min = TLS_VERSION_1_3;
    struct tls_info info;
    struct error why = {0};
    CHECK_INT(tls_load(tls, &config, &info, &a, &why), OK);
    CHECK_INT(shake_version(tls, TLS1_2_VERSION, NULL), IO_FAILED);
    CHECK_INT(shake_version(tls, TLS1_3_VERSION, NULL), 1);
    tls_free(tls);
}

/* Client certificates. */

struct identity {
    X509 *certificate;
    EVP_PKEY *key;
};

static void extend(X509 *c, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    CHECK(e && X509_add_ext(c, e, -1));
    X509_EXTENSION_free(e);
}

/* `by` NULL: a root. */
static struct identity issue(const char *name, const struct identity *by, int days)
{
    struct identity i = {X509_new(), EVP_EC_gen("P-256")};
    X509_NAME *subject = X509_get_subject_name(i.certificate);
    static int serial = 1;
    X509_set_version(i.certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(i.certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(i.certificate), -3600L * 24 * 30);
    X509_gmtime_adj(X509_getm_notAfter(i.certificate), 3600L * 24 * days);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"Acme", -1, -1,
                               0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1,
                               0);
    X509_set_issuer_name(i.certificate, by ? X509_get_subject_name(by->certificate) : subject);
    X509_set_pubkey(i.certificate, i.key);
    extend(i.certificate, NID_basic_constraints, by ? "CA:FALSE" : "critical,CA:TRUE");
    CHECK(X509_sign(i.certificate, by ? by->key : i.key, EVP_sha256()) > 0);
    return i;
}

static void identity_release(struct identity *i)
{
    X509_free(i->certificate);
    EVP_PKEY_free(i->key);
}

static str write_certificate(const char *name, const struct identity *i)
{
    str path = path_of(name);
    FILE *f = fopen(path.p, "we");
    CHECK(f && PEM_write_X509(f, i->certificate) && fclose(f) == 0);
    return path;
}

/* *session: to resume, and replaced by what the server gives; may be NULL. */
static int shake_client(struct tls *tls, const struct identity *who, SSL_SESSION **session,
                        bool *resumed, char subject[64], char why[TLS_ERROR_BYTES_MAX])
{
    struct pair p;
    char byte;
    pair_open(&p, tls);
    if (who)
        CHECK(SSL_use_cert_and_key(p.client, who->certificate, who->key, NULL, 1) == 1);
    if (session && *session)
        CHECK(SSL_set_session(p.client, *session) == 1);
    *why = '\0';
    int turn = 0, n = IO_WAIT_READ;
    for (; turn < 100 && n == IO_WAIT_READ; turn++) {
        (void)SSL_do_handshake(p.client);
        n = p.server.ops->handshake(&p.server);
    }
    if (n == IO_FAILED) {
        str text = tls_handshake_error(&p.server, why);
        why[text.n] = '\0';
    }
    snprintf(subject, 64, "%.*s", STR_ARG(p.server.client_subject));
    if (resumed)
        *resumed = SSL_session_reused(p.server.tls);
    if (session && n == 1) {
        (void)SSL_read(p.client, &byte, 1); /* the ticket */
        SSL_SESSION_free(*session);
        *session = SSL_get1_session(p.client);
        SSL_shutdown(p.client); /* or it counts as unfit to be resumed */
    }
    pair_close(&p);
    return n;
}

static void clients(void)
{
    struct identity root = issue("Root", NULL, 30), other = issue("Other", NULL, 30);
    struct identity good = issue("build, bot", &root, 30), bad = issue("bot", &other, 30);
    struct identity old = issue("old", &root, -1);
    struct tls_config config = certificate("clients");
    char subject[64], why[TLS_ERROR_BYTES_MAX];
    config.client_ca = write_certificate("root.crt", &root);
    for (int mode = TLS_CLIENT_AUTH_OPTIONAL; mode <= TLS_CLIENT_AUTH_REQUIRED; mode++) {
        config.client_auth = (enum tls_client_auth)mode;
        struct tls *tls = loaded(&config);
        bool required = mode == TLS_CLIENT_AUTH_REQUIRED;
        CHECK_INT(shake_client(tls, &good, NULL, NULL, subject, why), 1);
        CHECK_STR(str_from(subject), "CN=build\\, bot,O=Acme");
        CHECK_INT(shake_client(tls, NULL, NULL, NULL, subject, why), required ? IO_FAILED : 1);
        CHECK_STR(str_from(subject), "");
        CHECK_STR(str_from(why), required ? "peer did not return a certificate" : "");
        CHECK_INT(shake_client(tls, &bad, NULL, NULL, subject, why), IO_FAILED);
        CHECK_STR(str_from(why),
                  "certificate verify failed: unable to get local issuer certificate");
        CHECK_INT(shake_client(tls, &old, NULL, NULL, subject, why), IO_FAILED);
        CHECK_STR(str_from(why), "certificate verify failed: certificate has expired");
        tls_free(tls);
    }
    identity_release(&root);
    identity_release(&other);
    identity_release(&good);
    identity_release(&bad);
    identity_release(&old);
}

static void resumes(void)
{
    struct tls_config config = certificate("resumes");
    struct tls *tls = loaded(&config);
    struct tls_info info;
    struct error error = {0};
    SSL_SESSION *session = NULL, *first = NULL;
    bool resumed;
    char subject[64], why[TLS_ERROR_BYTES_MAX];
    CHECK_INT(shake_client(tls, NULL, &session, &resumed, subject, why), 1);
    CHECK(!resumed);
    first = session;
    SSL_SESSION_up_ref(first);
    CHECK_INT(shake_client(tls, NULL, &session, &resumed, subject, why), 1);
    CHECK(resumed);
    /* The two keys before the present one still open tickets, also after a reload. */
    for (int rotated = 1; rotated <= 3; rotated++) {
        tls_rotate_tickets(tls);
        CHECK_INT(tls_load(tls, &config, &info, &a, &error), OK);
        SSL_SESSION *old = first;
        SSL_SESSION_up_ref(old);
        CHECK_INT(shake_client(tls, NULL, &old, &resumed, subject, why), 1);
        CHECK_INT(resumed, rotated < 3);
        SSL_SESSION_free(old);
    }
    /* Each connection gets the next ticket. */
    SSL_SESSION_free(session);
    session = NULL;
    for (int i = 0; i < 6; i++) {
        CHECK_INT(shake_client(tls, NULL, &session, &resumed, subject, why), 1);
        CHECK_INT(resumed, i > 0);
        tls_rotate_tickets(tls);
    }
    SSL_SESSION_free(session);
    SSL_SESSION_free(first);
    tls_free(tls);
}

/* A ticket does not outlive the trust in the client it was given to. */
static void resumes_only_the_trusted(void)
{
    struct identity root = issue("Root", NULL, 30), other = issue("Other", NULL, 30);
    struct identity bot = issue("bot", &root, 30);
    struct tls_config config = certificate("trusted");
    struct tls_info info;
    struct error error = {0};
    SSL_SESSION *session = NULL;
    bool resumed;
    char subject[64], why[TLS_ERROR_BYTES_MAX];
    config.client_ca = write_certificate("trusted_root.crt", &root);
    config.client_auth = TLS_CLIENT_AUTH_REQUIRED;
    struct tls *tls = loaded(&config);
    CHECK_INT(shake_client(tls, &bot, &session, &resumed, subject, why), 1);
    CHECK_INT(shake_client(tls, &bot, &session, &resumed, subject, why), 1);
    CHECK(resumed);
    CHECK_STR(str_from(subject), "CN=bot,O=Acme");
    config.client_ca = write_certificate("other.crt", &other);
    CHECK_INT(tls_load(tls, &config, &info, &a, &error), OK);
    CHECK_INT(shake_client(tls, &bot, &session, &resumed, subject, why), IO_FAILED);
    SSL_SESSION_free(session);
    tls_free(tls);
    identity_release(&root);
    identity_release(&other);
    identity_release(&bot);
}

/* Nor a certificate that expired meanwhile. */
static void resumes_only_until_expiry(void)
{
    struct identity root = issue("Root", NULL, 30), bot = issue("bot", &root, 30);
    struct tls_config config = certificate("expiry");
    SSL_SESSION *session = NULL;
    bool resumed = true;
    char subject[64], why[TLS_ERROR_BYTES_MAX];
    int n;
    X509_gmtime_adj(X509_getm_notAfter(bot.certificate), 2);
    CHECK(X509_sign(bot.certificate, root.key, EVP_sha256()) > 0);
    config.client_ca = write_certificate("expiry_root.crt", &root);
    config.client_auth = TLS_CLIENT_AUTH_REQUIRED;
    struct tls *tls = loaded(&config);
    CHECK_INT(shake_client(tls, &bot, &session, NULL, subject, why), 1);
    const time_t end = time(NULL) + 10;
    while ((n = shake_client(tls, &bot, &session, &resumed, subject, why)) == 1 &&
           time(NULL) < end) {
    }
    CHECK_INT(n, IO_FAILED);
    SSL_SESSION_free(session);
    tls_free(tls);
    identity_release(&root);
    identity_release(&bot);
}

static void reloads(void)
{
    struct tls_config config = certificate("before"), next = certificate("after");
    struct tls *tls = loaded(&config);
    struct tls_info info = {0};
    struct error why = {0};
    struct pair old, young;
    pair_open(&old, tls);
    CHECK_INT(tls_load(tls, &next, &info, &a, &why), OK);
    pair_open(&young, tls);
    CHECK_INT(shake(&old), 1);
    CHECK_INT(shake(&young), 1);
    CHECK(X509_cmp(SSL_get0_peer_certificate(old.client), SSL_get0_peer_certificate(young.client)));
    /* What cannot be loaded changes nothing. */
    struct tls_config bad = next;
    bad.key = config.key;
    CHECK_INT(tls_load(tls, &bad, &info, &a, &why), ERR_CONFIG);
    struct pair third;
    pair_open(&third, tls);
    CHECK_INT(shake(&third), 1);
    CHECK_INT(
        X509_cmp(SSL_get0_peer_certificate(third.client), SSL_get0_peer_certificate(young.client)),
        0);
    /* The others go on. */
    write_text(&old, "still", "");
    client_expects(&old, "still");
    pair_close(&old);
    pair_close(&young);
    pair_close(&third);
    tls_free(tls);
}

static void check_refused(struct tls_config config, const char *message)
{
    struct tls *tls = tls_new();
    struct tls_info info;
    struct error why = {0};
    CHECK_INT(tls_load(tls, &config, &info, &a, &why), ERR_CONFIG);
    if (!str_contains(why.message, str_from(message)))
        CHECK_STR(why.message, message);
    tls_free(tls);
}

static void refuses(void)
{
    struct tls_config good = certificate("refuses"), other = certificate("refuses2"), c;
    str chain = write_file("chain", STR(""));
    c = good, c.key = (str){0};
    check_refused(c, "tls.cert is set, but tls.key is not");
    c = good, c.cert = (str){0};
    check_refused(c, "tls.key is set, but tls.cert is not");
    c = good, c.cert = path_of("nowhere");
    check_refused(c, "/nowhere\" cannot be read: No such file or directory");
    c = good, c.cert = path_of("");
    check_refused(c, "is not a file");
    c = good, c.cert = chain;
    check_refused(c, "tls.cert: \"");
    check_refused(c, "holds no certificate in PEM form");
    c = good, c.key = chain;
    check_refused(c, "tls.key: \"");
    check_refused(c, "holds no private key in PEM form");
    c = good, c.key = good.cert;
    check_refused(c, "holds no private key in PEM form");
    c = good, c.key = other.key;
    check_refused(c, "does not belong to the certificate in");
    c = good, c.cert = write_file("damaged", STR("-----BEGIN CERTIFICATE-----\nAAAA\n"
                                                 "-----END CERTIFICATE-----\n"));
    check_refused(c, "certificate 1 in \"");
    c = good, c.client_auth = TLS_CLIENT_AUTH_REQUIRED;
    check_refused(c, "tls.client_auth needs tls.client_ca");
    c = good, c.client_ca = good.cert;
    check_refused(c, "tls.client_ca is set, but tls.client_auth is off");
    c.client_auth = TLS_CLIENT_AUTH_OPTIONAL, c.client_ca = chain;
    check_refused(c, "tls.client_ca: \"");
}

static void refuses_order_and_passwords(void)
{
    struct identity root = issue("Root", NULL, 30), leaf = issue("leaf", &root, 30);
    struct tls_config c = {.cert = path_of("order.crt"), .key = path_of("order.key")};
    FILE *f = fopen(c.cert.p, "we");
    CHECK(f && PEM_write_X509(f, root.certificate) && PEM_write_X509(f, leaf.certificate) &&
          fclose(f) == 0);
    f = fopen(c.key.p, "we");
    CHECK(f && PEM_write_PrivateKey(f, leaf.key, NULL, NULL, 0, NULL, NULL) && fclose(f) == 0);
    check_refused(c, "the certificate of the key is number 2 in");
    f = fopen(c.key.p, "we");
    CHECK(f &&
          PEM_write_PrivateKey(f, leaf.key, EVP_aes_128_cbc(), (unsigned char *)"secret", 6, NULL,
                               NULL) &&
          fclose(f) == 0);
    check_refused(c, "is encrypted, and there is nobody to ask for its password");
    identity_release(&root);
    identity_release(&leaf);
}

static void self_signed(void)
{
    const str names[] = {STR("registry.example.com"), STR("10.1.2.3"), STR("fd00::1")};
    const str more[] = {STR("registry.example.com"), STR("10.1.2.4")};
    str cert, key, why_not;
    struct error why = {0};
    str path = path_of("self.crt");
    CHECK(!tls_self_signed_good(path, names, 3, 30, &why_not, &a));
    CHECK_STR(why_not, "");
    CHECK_INT(tls_self_signed_make(names, 3, 100, &cert, &key, &a, &why), OK);
    write_file("self.crt", cert);
    CHECK(tls_self_signed_good(path, names, 3, 30, &why_not, &a));
    CHECK(tls_self_signed_good(path, names + 1, 1, 99, &why_not, &a));
    CHECK(!tls_self_signed_good(path, names, 3, 101, &why_not, &a));
    CHECK_STR(why_not, "it expires soon");
    CHECK(!tls_self_signed_good(path, more, 2, 30, &why_not, &a));
    CHECK_STR(why_not, "it does not name 10.1.2.4");
    write_file("self.crt", STR("rubbish"));
    CHECK(!tls_self_signed_good(path, names, 3, 30, &why_not, &a));
    CHECK(str_contains(why_not, STR("holds no certificate")));
    arena_release(&a);
}

TESTS({"speaks", speaks}, {"broken off", broken_off}, {"cleartext", cleartext},
      {"trickles", trickles}, {"key updates take turns", key_updates_take_turns},
      {"key updates without end", key_updates_without_end}, {"waits to write", waits_to_write},
      {"protocols", protocols}, {"versions", versions}, {"clients", clients}, {"resumes", resumes},
      {"resumes only the trusted", resumes_only_the_trusted},
      {"resumes only until expiry", resumes_only_until_expiry}, {"reloads", reloads},
      {"refuses", refuses}, {"refuses order and passwords", refuses_order_and_passwords},
      {"self-signed", self_signed});
