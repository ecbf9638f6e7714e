#include "base/buf.h"
#include "base/clock.h"
#include "base/log_line.h"
#include "base/metrics.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    QUEUE_MAX_BYTES = 1 << 20,
    GATHER_MS = 10,      /* when lines come all the time, one write for those of so long */
    STOP_ROUND_MS = 100, /* of waiting for a reader, */
    STOP_ROUNDS = 10,    /* and so many at the end of the program */
};

static struct {
    int fd;
    enum log_format format;
    _Atomic enum log_level least;
    atomic_uint waited_rounds; /* since the end of the program began */
} sink = {.fd = STDERR_FILENO, .format = LOG_LOGFMT, .least = LOG_INFO};

/* The hand-over to the writer thread. */
static struct {
    pthread_mutex_t lock; /* guards everything here */
    pthread_cond_t filled;
    pthread_t thread;
    struct buf lines;
    uint64_t dropped;
    bool running, stopping;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .filled = PTHREAD_COND_INITIALIZER,
           .lines = BUF_INIT(QUEUE_MAX_BYTES)};

void log_init(int fd, enum log_format format, enum log_level least)
{
    sink.fd = fd;
    sink.format = format;
    sink.least = least;
    sink.waited_rounds = 0;
}

void log_set_level(enum log_level least)
{
    atomic_store_explicit(&sink.least, least, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return level >= atomic_load_explicit(&sink.least, memory_order_relaxed);
}

static bool is_stopping(void)
{
    pthread_mutex_lock(&queue.lock);
    bool stopping = queue.stopping;
    pthread_mutex_unlock(&queue.lock);
    return stopping;
}

/* Until the sink takes a piece. False when the program ends and nobody reads. */
static bool wait_writable(void)
{
    struct pollfd p = {.fd = sink.fd, .events = POLLOUT};
    while (poll(&p, 1, STOP_ROUND_MS) <= 0)
        if (is_stopping() && atomic_fetch_add(&sink.waited_rounds, 1) >= STOP_ROUNDS)
            return false;
    return true;
}

/* Whole lines, as many as a pipe takes at once without waiting, or a part of a longer one. */
static str next_piece(str bytes)
{
    str piece = str_first(bytes, PIPE_BUF);
    size_t end = str_rfind(piece, '\n');
    return piece.n < bytes.n && end < piece.n ? str_first(piece, end + 1) : piece;
}

/* There is nowhere to report that the log itself failed, so a failed write ends the attempt. */
static void write_out(str bytes)
{
    while (bytes.n && wait_writable()) {
        str piece = next_piece(bytes);
        ssize_t n = write(sink.fd, piece.p, piece.n);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            return;
        bytes = str_skip(bytes, (size_t)n);
    }
}

static void hand_over(str line)
{
    pthread_mutex_lock(&queue.lock);
    if (!queue.running) {
        pthread_mutex_unlock(&queue.lock);
        write_out(line);
        return;
    }
    size_t before = queue.lines.n;
    if (!buf_add(&queue.lines, line)) {
        queue.dropped++;
        metric_add(METRIC_LOG_DROPPED, 1);
        queue.lines.full = false; /* a shorter line may still fit */
    }
    if (before == 0 || (before < QUEUE_MAX_BYTES / 4 && queue.lines.n >= QUEUE_MAX_BYTES / 4))
        pthread_cond_signal(&queue.filled);
    pthread_mutex_unlock(&queue.lock);
}

/* Lines that come alone are written at once. Those that come close together wait a little, so that
 * whoever logs does not wake this thread for each. The lock is held. */
static void gather(uint64_t last_ms)
{
    uint64_t due_ms = last_ms + GATHER_MS;
    struct timespec due = {.tv_sec = (time_t)(due_ms / 1000),
                           .tv_nsec = (long)(due_ms % 1000) * 1000000};
    while (!queue.stopping && queue.lines.n < QUEUE_MAX_BYTES / 4 && clock_mono_ms() < due_ms)
        if (pthread_cond_clockwait(&queue.filled, &queue.lock, CLOCK_MONOTONIC, &due))
            break;
}

static void *write_lines(void *unused)
{
    uint64_t last_ms = 0;
    struct buf taken = BUF_INIT(QUEUE_MAX_BYTES);
    uint64_t dropped = 0;
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&queue.lock);
        while (!queue.lines.n && !queue.stopping)
            pthread_cond_wait(&queue.filled, &queue.lock);
        gather(last_ms);
        bool last = queue.stopping && !queue.lines.n;
        struct buf filled = queue.lines;
        queue.lines = taken;
        taken = filled;
        dropped = queue.dropped;
        queue.dropped = 0;
        pthread_mutex_unlock(&queue.lock);
        if (last)
            break;
        write_out(buf_str(&taken));
        buf_clear(&taken);
        last_ms = clock_mono_ms();
        if (dropped)
            LOG(WARN, "log_lines_dropped", log_int("lines", (int64_t)dropped));
    }
    buf_release(&taken);
    return NULL;
}

enum err log_thread_start(void)
{
    queue.stopping = false;
    if (pthread_create(&queue.thread, NULL, write_lines, NULL))
        return ERR_OVERLOADED;
    pthread_mutex_lock(&queue.lock);
    queue.running = true;
    pthread_mutex_unlock(&queue.lock);
    return OK;
}

void log_thread_stop(void)
{
    pthread_mutex_lock(&queue.lock);
    bool was_running = queue.running;
    queue.running = false;
    queue.stopping = true;
    pthread_cond_signal(&queue.filled);
    pthread_mutex_unlock(&queue.lock);
    if (was_running)
        pthread_join(queue.thread, NULL);
    buf_release(&queue.lines);
}

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    char out[LOG_LINE_MAX];
    if (level >= LOG_WARN)
        metric_add_at(METRIC_LOG_PROBLEMS, level == LOG_WARN ? LEVEL_WARN : LEVEL_ERROR, 1);
    hand_over(log_line(sink.format, level, event, fields, n, out));
}
