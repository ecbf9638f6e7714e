/* Transports over TLS: OpenSSL over the non-blocking socket.
 *
 * One record carries at most 16 KiB, and OpenSSL makes one system call a record (with MSG_MORE
 * while more follow); small pieces are gathered in the scratch, so that a head and its short body
 * are one record. A file is read into the scratch and encrypted from there. Every wait leaves at
 * most one encrypted record inside OpenSSL, which the next call sends first.
 *
 * OpenSSL reads on by itself while records bring no data of the application, such as KeyUpdate of
 * TLS 1.3. So one call gets only so many bytes of the socket, and a peer that sends many such
 * records in a row is dropped. */
#include "net/tls_private.h"

#include "base/metrics.h"

#include <openssl/err.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RECORD_HANDSHAKE = 0x16, /* first byte of a connection that speaks TLS */
    RECORD_BYTES = 16 * 1024,
    SUBJECT_BYTES_MAX = 1024,
    HANDSHAKE_TURN_BYTES = 64 * 1024,
    READ_SLACK_BYTES = RECORD_BYTES, /* one call may take more than it returns by this and a read */
    SILENT_BYTES_MAX = 64 * 1024,    /* without data of the application between them */
};

/* The socket as OpenSSL sees it. */

static int socket_read(BIO *bio, char *bytes, int n)
{
    struct transport *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    t->drained = false;
    if (t->allowed_bytes == 0) { /* the socket is still readable: its next event leads here again */
        BIO_set_retry_read(bio);
        return -1;
    }
    if (t->silent_bytes > SILENT_BYTES_MAX) {
        metric_limit(LIMIT_TLS_RECORDS);
        return -1;
    }
    ssize_t got = recv(t->fd, bytes, (size_t)n, 0);
    t->drained = got < n;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    if (got > 0) {
        t->allowed_bytes -= (size_t)got < t->allowed_bytes ? (size_t)got : t->allowed_bytes;
        t->silent_bytes += (size_t)got;
    }
    return (int)got;
}

static int socket_write(BIO *bio, const char *bytes, int n)
{
    const struct transport *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t sent = send(t->fd, bytes, (size_t)n, MSG_NOSIGNAL | (t->more ? MSG_MORE : 0));
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)sent;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_socket_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "transport");
    if (!m || !BIO_meth_set_read(m, socket_read) || !BIO_meth_set_write(m, socket_write) ||
        !BIO_meth_set_ctrl(m, socket_control))
        abort();
    return m;
}

/* SSL_get_error goes by what this thread's queue of errors holds. */
static void forget_errors(void)
{
    if (ERR_peek_error()) /* clearing costs as much for an empty queue as for a full one */
        ERR_clear_error();
}

/* What an OpenSSL call that did not succeed comes down to. */
static int result(struct transport *t, int n)
{
    switch (SSL_get_error(t->tls, n)) {
    case SSL_ERROR_WANT_READ:
        return IO_WAIT_READ;
    case SSL_ERROR_WANT_WRITE:
        return IO_WAIT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return IO_END;
    default:
        t->broken = true;
        return IO_FAILED;
    }
}

/* False: the client's certificate names nobody readable, or has expired since the session that is
 * resumed began. */
static bool take_client_subject(struct transport *t)
{
    X509 *certificate = SSL_get0_peer_certificate(t->tls);
    if (!certificate)
        return true;
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        return false;
    CLEANUP(bio) BIO *out = BIO_new(BIO_s_mem());
    if (!out)
        abort();
    if (X509_NAME_print_ex(out, X509_get_subject_name(certificate), 0,
                           XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0)
        return false;
    char *text;
    long n = BIO_get_mem_data(out, &text);
    if (n > SUBJECT_BYTES_MAX)
        n = SUBJECT_BYTES_MAX;
    char *copy = malloc((size_t)n + 1);
    if (!copy)
        abort();
    memcpy(copy, text, (size_t)n);
    t->client_subject = str_make(copy, (size_t)n);
    return true;
}

static int tls_handshake(struct transport *t)
{
    if (SSL_in_before(t->tls)) {
        uint8_t first;
        ssize_t n = recv(t->fd, &first, 1, MSG_PEEK);
        if (n == 1 && first != RECORD_HANDSHAKE)
            return IO_CLEARTEXT;
        if (n != 1)
            return n < 0 && (errno == EAGAIN || errno == EINTR) ? IO_WAIT_READ : IO_END;
    }
    forget_errors();
    t->allowed_bytes = HANDSHAKE_TURN_BYTES;
    int n = SSL_accept(t->tls);
    t->silent_bytes = 0; /* what a handshake may consist of, OpenSSL bounds */
    if (n != 1) {
        int wait = result(t, n);
        return wait == IO_END ? IO_FAILED : wait;
    }
    if (!take_client_subject(t)) {
        t->broken = true;
        return IO_FAILED;
    }
    t->tls_version = SSL_get_version(t->tls) + sizeof "TLSv" - 1;
    const unsigned char *name;
    unsigned name_n;
    SSL_get0_alpn_selected(t->tls, &name, &name_n);
    t->protocol = str_eq(str_make(name, name_n), STR("h2")) ? PROTOCOL_HTTP2 : PROTOCOL_HTTP1;
    t->buffered = true; /* a request may have come with the end of the handshake */
    return 1;
}

static ssize_t tls_read(struct transport *t, void *bytes, size_t n)
{
    size_t done = 0, got;
    int wait = IO_WAIT_READ;
    forget_errors();
    t->read_needs_write = false;
    t->allowed_bytes = n + READ_SLACK_BYTES;
    while (done < n) {
        int ok = SSL_read_ex(t->tls, (char *)bytes + done, n - done, &got);
        if (ok != 1) {
            wait = result(t, ok);
            break;
        }
        done += got;
        t->silent_bytes = 0;
        if (t->drained && !SSL_has_pending(t->tls)) /* to ask again would be a call for nothing */
            break;
    }
    t->buffered = done == n && SSL_has_pending(t->tls);
    if (done > 0) /* what else there is to tell, the next call tells */
        return (ssize_t)done;
    t->read_needs_write = wait == IO_WAIT_WRITE;
    return wait;
}

/* Writes n bytes, or a prefix that ends with a record. */
static ssize_t write_records(struct transport *t, const char *bytes, size_t n, bool more)
{
    size_t done = 0, sent;
    int wait = IO_FAILED;
    forget_errors();
    while (done < n) {
        t->more = more || n - done > RECORD_BYTES;
        int ok = t->broken ? 0 : SSL_write_ex(t->tls, bytes + done, n - done, &sent);
        if (ok != 1) {
            wait = t->broken ? IO_FAILED : result(t, ok);
            break;
        }
        done += sent;
    }
    t->more = false;
    if (done > 0)
        return (ssize_t)done;
    return wait == IO_END ? IO_FAILED : wait;
}

static ssize_t tls_writev(struct transport *t, const struct iovec *v, size_t n, bool more)
{
    if (n == 1 || v[0].iov_len >= RECORD_BYTES)
        return write_records(t, v[0].iov_base, v[0].iov_len, more || n > 1);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        size_t part = v[i].iov_len < RECORD_BYTES - used ? v[i].iov_len : RECORD_BYTES - used;
        memcpy(t->scratch + used, v[i].iov_base, part);
        used += part;
        more |= part < v[i].iov_len;
    }
    return write_records(t, t->scratch, used, more);
}

static ssize_t tls_sendfile(struct transport *t, int file_fd, uint64_t offset, size_t n)
{
    size_t done = 0;
    while (done < n) {
        size_t want = n - done < TRANSPORT_SCRATCH_BYTES ? n - done : TRANSPORT_SCRATCH_BYTES;
        ssize_t got = pread(file_fd, t->scratch, want, (off_t)(offset + done));
        if (got <= 0)
            return done > 0 ? (ssize_t)done : got == 0 ? IO_END : IO_FAILED;
        ssize_t sent = write_records(t, t->scratch, (size_t)got, (size_t)got < n - done);
        if (sent < 0)
            return done > 0 ? (ssize_t)done : sent;
        done += (size_t)sent;
        if (sent < got)
            break;
    }
    return (ssize_t)done;
}

/* Says that nothing more comes, if there is still someone to say it to. */
static void say_goodbye(struct transport *t)
{
    if (t->broken || !SSL_is_init_finished(t->tls))
        return;
    forget_errors();
    if (SSL_shutdown(t->tls) < 0 && SSL_get_error(t->tls, -1) == SSL_ERROR_SSL)
        t->broken = true;
}

static void tls_shutdown_write(struct transport *t)
{
    say_goodbye(t);
    (void)shutdown(t->fd, SHUT_WR);
}

static void tls_close(struct transport *t)
{
    say_goodbye(t);
    SSL_free(t->tls);
    t->tls = NULL;
    close(t->fd);
    t->fd = -1;
}

static const struct transport_ops tls_ops = {
    .handshake = tls_handshake,
    .read = tls_read,
    .writev = tls_writev,
    .sendfile = tls_sendfile,
    .shutdown_write = tls_shutdown_write,
    .close = tls_close,
};

void transport_init_tls(struct transport *t, int fd, struct tls *tls)
{
    *t = (struct transport){.ops = &tls_ops, .fd = fd, .secure = true, .tls = tls_session(tls)};
    BIO *bio = BIO_new(tls_method(tls));
    if (!bio)
        abort();
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->tls, bio, bio);
    SSL_set_accept_state(t->tls);
}

void transport_to_tcp(struct transport *t)
{
    SSL_free(t->tls);
    transport_init_tcp(t, t->fd);
}

str tls_handshake_error(const struct transport *t, char out[TLS_ERROR_BYTES_MAX])
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    long verdict = SSL_get_verify_result(t->tls);
    int n = snprintf(out, TLS_ERROR_BYTES_MAX, "%s%s%s", reason ? reason : "the connection ended",
                     verdict == X509_V_OK ? "" : ": ",
                     verdict == X509_V_OK ? "" : X509_verify_cert_error_string(verdict));
    return str_make(out, n < TLS_ERROR_BYTES_MAX ? (size_t)n : TLS_ERROR_BYTES_MAX - 1);
}

void transport_release(struct transport *t)
{
    free((char *)t->client_subject.p);
    t->client_subject = (str){0};
}
