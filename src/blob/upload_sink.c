#include "blob/upload_sink.h"

#include "http/request.h"

#include <stdlib.h>

enum {
    /* Hashing this much takes some 40 us, about what a hand-over to another worker costs. */
    SMALL_BYTES = 64 << 10,
};

struct upload_sink {
    struct sink sink;
    struct upload_sink_options options;
    struct strand writing, hashing;
    uint64_t start;          /* file offset of the body */
    uint64_t body_max;       /* bytes this body may have */
    enum err body_error;     /* what it is to have more */
    uint64_t written;        /* bytes of this body; the writing strand's, then the end's */
    atomic_uint hash_queued; /* buffers on the hashing strand */
    _Atomic(enum err) error; /* the first one */
};

static struct upload_sink *of(struct sink *s)
{
    return (struct upload_sink *)((char *)s - offsetof(struct upload_sink, sink));
}

static void set_error(struct upload_sink *s, enum err e)
{
    enum err none = OK;
    atomic_compare_exchange_strong(&s->error, &none, e);
}

/* One strand at a time: on the hashing strand, or on the writing one while nothing is queued. */
static void hash(struct upload_sink *s, const struct iobuf *b)
{
    hasher_update(s->options.upload->hasher, b->p, b->n);
    s->options.upload->hashed += b->n;
}

static void hash_step(struct task *t)
{
    struct iobuf *b = (struct iobuf *)((char *)t - offsetof(struct iobuf, steps[1]));
    struct upload_sink *s = b->sink;
    hash(s, b);
    atomic_fetch_sub(&s->hash_queued, 1);
    iobuf_unref(b);
}

static void queue_hash(struct upload_sink *s, struct iobuf *b)
{
    atomic_fetch_add(&s->hash_queued, 1);
    iobuf_ref(b);
    b->steps[1].run = hash_step;
    strand_post(&s->hashing, &b->steps[1]);
}

static void write_step(struct task *t)
{
    struct iobuf *b = (struct iobuf *)((char *)t - offsetof(struct iobuf, steps[0]));
    struct upload_sink *s = b->sink;
    struct upload *u = s->options.upload;
    if (!atomic_load(&s->error)) {
        bool small = b->n < SMALL_BYTES && atomic_load(&s->hash_queued) == 0;
        if (!small && !s->options.no_hash)
            queue_hash(s, b);
        enum err e = store_upload_write(u->file, s->start + b->offset, str_make(b->p, b->n));
        if (e) {
            set_error(s, e);
        } else {
            s->written += b->n;
            if (small && !s->options.no_hash)
                hash(s, b);
        }
    }
    iobuf_unref(b);
}

static void push(struct sink *sink, struct iobuf *b)
{
    struct upload_sink *s = of(sink);
    if (b->offset + b->n > s->body_max)
        set_error(s, s->body_error);
    if (atomic_load(&s->error))
        return;
    b->sink = s;
    b->steps[0].run = write_step;
    iobuf_ref(b);
    strand_post(&s->writing, &b->steps[0]);
}

static bool failed(struct sink *sink)
{
    return atomic_load(&of(sink)->error) != OK;
}

/* The sink is over before the callback runs: it sees the upload at rest. */
static enum err end(struct sink *sink, struct request *req, struct response *res, enum err why)
{
    struct upload_sink *s = of(sink);
    struct upload_sink_options options = s->options;
    uint64_t total_bytes = s->start + s->written;
    enum err e = atomic_load(&s->error);
    if (e)
        options.upload->broken = true;
    else if (why)
        e = why;
    else if (options.body_bytes != BODY_UNKNOWN && s->written != options.body_bytes)
        e = ERR_SIZE_INVALID;
    strand_release(&s->writing);
    strand_release(&s->hashing);
    free(s);
    if (e)
        return options.abort(options.arg, req, res, total_bytes, e);
    return options.finish(options.arg, req, res, total_bytes);
}

static enum err finish(struct sink *sink, struct request *req, struct response *res)
{
    return end(sink, req, res, OK);
}

static enum err sink_abort(struct sink *sink, struct request *req, struct response *res)
{
    return end(sink, req, res, ERR_CLOSED);
}

static const struct sink_ops ops = {
    .push = push, .finish = finish, .abort = sink_abort, .failed = failed};

enum err upload_sink_new(const struct upload_sink_options *options, struct sink **ret)
{
    const struct upload *u = options->upload;
    if (u->offset > options->size_max)
        return ERR_BODY_TOO_LARGE;
    uint64_t room = options->size_max - u->offset;
    bool known = options->body_bytes != BODY_UNKNOWN;
    if (known && options->body_bytes > room)
        return ERR_BODY_TOO_LARGE;
    struct upload_sink *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->sink.ops = &ops;
    s->options = *options;
    s->start = u->offset;
    s->body_max = known ? options->body_bytes : room;
    s->body_error = known ? ERR_SIZE_INVALID : ERR_BODY_TOO_LARGE;
    if (known)
        store_upload_expect(u->file, u->offset + options->body_bytes);
    strand_init(&s->writing, options->pool);
    strand_init(&s->hashing, options->pool);
    *ret = &s->sink;
    return OK;
}
