/* The least that any receiver of blobs does, as a ceiling for pushes: bytes out of a socket,
 * through SHA-256, into a file that is synced. No HTTP, no database, no bound on clients or memory.
 * The sender is as the generator's: one thread, sendfile, no pacing.
 *
 * Each stream has a ring of buffers and three stages, which an arrangement gives to one thread, two
 * or three. Which is best depends on the machine; the bench takes the best. */
#include "load.h"

#include "conn.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RING = 16,
    BUFFER_BYTES = 1 << 18,
    STREAMS_MAX = 64,
    STAGES = 3,
    NAME_BYTES_MAX = 4096,
    STALL_MS = 60000,
};
enum { RECEIVE = 1 << 0, WRITE = 1 << 1, HASH = 1 << 2 };

/* The stages of each thread. */
static const unsigned arrangements[][STAGES] = {
    {RECEIVE | WRITE | HASH},
    {RECEIVE | WRITE, HASH},
    {RECEIVE, WRITE, HASH},
};

struct stream {
    struct conn sender;
    int fd, file;
    char name[NAME_BYTES_MAX];
    uint64_t bytes, sent, received;
    EVP_MD_CTX *md;
    char *buffers[RING];
    size_t n[RING];
    bool last[RING];
    bool failed;
    pthread_mutex_t lock; /* guards `failed` and `done`, for the threads of this stream */
    pthread_cond_t moved;
    uint64_t done[STAGES]; /* buffers each stage is through with */
};

struct part {
    pthread_t thread;
    struct stream *stream;
    unsigned stages;
};

static bool may_begin(const struct stream *s, unsigned stages, uint64_t turn)
{
    if (!(stages & RECEIVE))
        return s->done[0] > turn;
    return s->done[1] + RING > turn && s->done[2] + RING > turn;
}

static bool receive(struct stream *s, unsigned slot)
{
    uint64_t left = s->bytes - s->received;
    size_t want = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;
    ssize_t got = recv(s->fd, s->buffers[slot], want, 0);
    if (got <= 0)
        return false;
    s->n[slot] = (size_t)got;
    s->received += (uint64_t)got;
    s->last[slot] = s->received == s->bytes;
    return true;
}

static bool write_out(struct stream *s, unsigned slot)
{
    for (size_t at = 0; at < s->n[slot];) {
        ssize_t n = write(s->file, s->buffers[slot] + at, s->n[slot] - at);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return !s->last[slot] || fsync(s->file) == 0;
}

static bool hash(struct stream *s, unsigned slot)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    return EVP_DigestUpdate(s->md, s->buffers[slot], s->n[slot]) == 1 &&
           (!s->last[slot] || EVP_DigestFinal_ex(s->md, digest, NULL) == 1);
}

static void *work(void *arg)
{
    static bool (*const steps[STAGES])(struct stream * s, unsigned slot) = {receive, write_out,
                                                                            hash};
    struct part *p = arg;
    struct stream *s = p->stream;
    bool ok = true, last = false;
    for (uint64_t turn = 0; ok && !last; turn++) {
        unsigned slot = turn % RING;
        pthread_mutex_lock(&s->lock);
        while (!s->failed && !may_begin(s, p->stages, turn))
            pthread_cond_wait(&s->moved, &s->lock);
        ok = !s->failed;
        pthread_mutex_unlock(&s->lock);
        for (unsigned i = 0; ok && i < STAGES; i++)
            ok = !(p->stages & 1u << i) || steps[i](s, slot);
        if (!ok)
            shutdown(s->fd, SHUT_RDWR); /* the sender need not wait */
        last = s->last[slot];           /* before the slot is the receiver's again */
        pthread_mutex_lock(&s->lock);
        for (unsigned i = 0; i < STAGES; i++)
            s->done[i] += p->stages >> i & 1;
        s->failed = s->failed || !ok;
        pthread_cond_broadcast(&s->moved);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

static bool stream_open(struct stream *s, const struct load *l, int listener, const char *path,
                        unsigned number)
{
    s->bytes = l->blob_bytes;
    s->fd = s->file = s->sender.fd = -1;
    s->md = EVP_MD_CTX_new();
    if (!s->md || EVP_DigestInit_ex(s->md, EVP_sha256(), NULL) != 1)
        return false;
    for (unsigned i = 0; i < RING; i++)
        if (!(s->buffers[i] = malloc(BUFFER_BYTES)))
            return false;
    int n = snprintf(s->name, sizeof s->name, "%s.%u", path, number);
    if (n < 0 || (size_t)n >= sizeof s->name)
        return false;
    s->file = open(s->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s->file < 0 || !conn_open(l, &s->sender, NULL))
        return false;
    // cppcheck-suppress nullPointer ; accept(2): nobody asks who it is
    s->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    return s->fd >= 0;
}

static void stream_close(struct stream *s)
{
    conn_close(&s->sender);
    if (s->fd >= 0)
        close(s->fd);
    if (s->file >= 0) {
        close(s->file);
        unlink(s->name);
    }
    for (unsigned i = 0; i < RING; i++)
        free(s->buffers[i]);
    EVP_MD_CTX_free(s->md);
}

/* Sends all that the sockets take, until everything is sent. */
static bool send_all(struct stream *streams, unsigned n, const struct load *l)
{
    struct pollfd fds[STREAMS_MAX];
    for (unsigned i = 0; i < n; i++)
        fds[i] = (struct pollfd){.fd = streams[i].sender.fd, .events = POLLOUT};
    for (unsigned open = n; open > 0;) {
        if (poll(fds, n, STALL_MS) <= 0)
            return false;
        for (unsigned i = 0; i < n; i++) {
            struct stream *s = &streams[i];
            while (fds[i].revents && s->sent < s->bytes) {
                uint64_t at = s->sent % BLOB_BLOCK, size = BLOB_BLOCK - at;
                size = size < s->bytes - s->sent ? size : s->bytes - s->sent;
                ssize_t sent = conn_send_file(&s->sender, l->block_fd, at, (size_t)size);
                if (sent == IO_FAILED)
                    return false;
                if (sent == IO_WAIT)
                    break;
                s->sent += (uint64_t)sent;
            }
            if (fds[i].fd >= 0 && s->sent == s->bytes) {
                fds[i].fd = -1;
                open--;
            }
        }
    }
    return true;
}

/* Runs the stages until every stream is in its file. */
static bool pass(struct stream *streams, unsigned n, const unsigned stages[STAGES],
                 const struct load *l)
{
    struct part parts[STREAMS_MAX * STAGES] = {0};
    bool ok = true;
    unsigned parts_n = 0;
    for (unsigned i = 0; i < n; i++) {
        pthread_mutex_init(&streams[i].lock, NULL);
        pthread_cond_init(&streams[i].moved, NULL);
        for (unsigned k = 0; ok && k < STAGES && stages[k]; k++) {
            struct part *p = &parts[parts_n];
            *p = (struct part){.stream = &streams[i], .stages = stages[k]};
            ok = pthread_create(&p->thread, NULL, work, p) == 0;
            parts_n += ok;
        }
    }
    ok = ok && send_all(streams, n, l);
    for (unsigned i = 0; !ok && i < n; i++) /* nobody waits for more */
        shutdown(streams[i].fd, SHUT_RDWR);
    for (unsigned i = 0; i < parts_n; i++)
        pthread_join(parts[i].thread, NULL);
    for (unsigned i = 0; i < n; i++) {
        ok = ok && !streams[i].failed;
        pthread_mutex_destroy(&streams[i].lock);
        pthread_cond_destroy(&streams[i].moved);
    }
    return ok;
}

static int listen_here(struct load *l)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, n) != 0 || listen(fd, STREAMS_MAX) != 0 ||
                    getsockname(fd, (struct sockaddr *)&a, &n) != 0)) {
        close(fd);
        return -1;
    }
    l->address = a.sin_addr.s_addr;
    l->port = ntohs(a.sin_port);
    return fd;
}

static bool run(struct load *l, const char *path, const unsigned stages[STAGES])
{
    unsigned n = l->connections;
    struct stream *streams = calloc(n, sizeof *streams);
    int listener = listen_here(l);
    bool ok = streams && listener >= 0;
    for (unsigned i = 0; streams && i < n; i++)
        ok = stream_open(&streams[i], l, listener, path, i) && ok;
    double cpu = cpu_seconds();
    l->start_us = now_us();
    ok = ok && pass(streams, n, stages, l);
    l->end_us = now_us();
    l->cpu = cpu_seconds() - cpu;
    for (unsigned i = 0; streams && i < n; i++)
        stream_close(&streams[i]);
    free(streams);
    if (listener >= 0)
        close(listener);
    return ok;
}

bool receiver_run(struct load *l, const char *path)
{
    static const char *const names[] = {"one thread", "two threads", "three threads"};
    unsigned best = 0;
    double rate = 0, us_per_mb = 0;
    struct load prepared = {.operations_max = 1}; /* one empty blob, and the block */
    if (l->connections > STREAMS_MAX || l->blob_bytes == 0 || !blobs_prepare(&prepared))
        return false;
    free(prepared.blobs);
    signal(SIGPIPE, SIG_IGN);
    l->block = prepared.block;
    l->block_fd = prepared.block_fd;
    for (unsigned i = 0; i < sizeof arrangements / sizeof *arrangements; i++) {
        if (!run(l, path, arrangements[i]))
            return false;
        double bytes = (double)l->blob_bytes * l->connections;
        double r = bytes * 1e6 / (double)(l->end_us - l->start_us);
        if (r > rate) {
            rate = r;
            us_per_mb = l->cpu * 1e12 / bytes;
            best = i;
        }
    }
    printf("{\"bytes_per_second\": %.0f, \"us_per_mb\": %.0f, \"arrangement\": \"%s\"}\n", rate,
           us_per_mb, names[best]);
    return true;
}
