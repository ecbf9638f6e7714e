/* Request bodies: in memory, or into a sink (body.h) in buffers drawn from the budget (iobuf.h). */
#include "http/exchange.h"

/* What a body of unknown length counts as in the balance between reactors. */
enum { UNKNOWN_LOAD_BYTES = 16 * 1024 * 1024, STREAM_CLASS_FIRST = 2 };

/* In memory. */

static enum err too_large(struct exchange *x)
{
    const struct route *route = x->req.route;
    if (route->body == BODY_NONE)
        return fail(&x->req, ERR_BODY_TOO_LARGE, "this request takes no body");
    return fail(&x->req, route->too_large ? route->too_large : ERR_BODY_TOO_LARGE,
                "the request's body may have at most %llu bytes here",
                (unsigned long long)x->body_max);
}

enum err exchange_plan_body(struct exchange *x)
{
    const struct route *route = x->req.route;
    switch (route->body) {
    case BODY_STREAM:
        return OK;
    case BODY_NONE:
        x->body_max = 0;
        break;
    case BODY_SMALL:
        x->collect = true;
        x->body_max = route->body_max_bytes ? route->body_max_bytes
                                            : x->conn->shard->server->config.limits.body_bytes_max;
        break;
    case BODY_DRAIN:
        x->body_max = DISCARD_BYTES;
        break;
    }
    x->small.limit = (size_t)x->body_max;
    return x->body_left != BODY_UNKNOWN && x->body_left > x->body_max ? too_large(x) : OK;
}

/* Memory for n more bytes: the whole of a short body of known length at once, a long one's as it
 * comes, so that a client pays with bytes for what it takes. */
static enum err reserve(struct exchange *x, size_t n)
{
    size_t need = x->small.n + n;
    if (need <= x->small_charge)
        return OK;
    size_t target = 2 * x->small_charge;
    if (target == 0 && x->body_left <= SCRATCH_BYTES)
        target = need + (size_t)x->body_left;
    target = target > need ? target : need;
    target = target < x->small.limit ? target : x->small.limit;
    if (!budget_take_small(&x->conn->shard->server->budget, x->small_charge,
                           target - x->small_charge)) {
        metric_limit(LIMIT_RECEIVE_MEMORY);
        return ERR_OVERLOADED;
    }
    x->small_charge = target;
    return buf_room(&x->small, target - x->small.n) ? OK : ERR_INTERNAL;
}

enum err exchange_take_body(struct exchange *x, str data)
{
    if (x->body_in > x->body_max)
        return too_large(x);
    if (!x->collect || data.n == 0)
        return OK;
    enum err e = reserve(x, data.n);
    if (!e)
        buf_add(&x->small, data);
    return e;
}

void exchange_body_ready(struct exchange *x)
{
    x->req.body = buf_str(&x->small);
}

/* The rate. */

void exchange_rate_begin(struct exchange *x)
{
    x->window_bytes = x->body_in;
}

enum err exchange_rate(struct exchange *x)
{
    const struct http_limits *limits = &x->conn->shard->server->config.limits;
    uint64_t need = limits->body_bytes_per_second_min * limits->body_ms / 1000;
    if (x->body_in - x->window_bytes >= (need > 0 ? need : 1))
        return OK;
    metric_limit(LIMIT_BODY_RATE);
    return fail(&x->req, ERR_TIMEOUT, "the request body arrived too slowly");
}

/* Into a sink. */

static void granted(struct task *t)
{
    struct exchange *x = (struct exchange *)((char *)t - offsetof(struct exchange, wait.granted));
    x->waiting = false;
    x->granted = true;
    x->wake(x);
}

void exchange_stream_begin(struct exchange *x)
{
    x->class = STREAM_CLASS_FIRST;
    x->wait.reactor = x->conn->shard->reactor;
    x->wait.granted.run = granted;
}

bool exchange_settle(struct exchange *x)
{
    x->settling = true;
    if (x->outstanding > 0 || x->waiting)
        return false;
    if (x->granted)
        budget_give(&x->conn->shard->server->budget, x->wait.bytes);
    x->granted = false;
    bool failed = x->sink->ops->failed(x->sink);
    if (x->body_done && !failed)
        return !exchange_submit(x, WORK_FINISH);
    if (!x->body_error)
        x->body_error = ERR_INTERNAL; /* the sink failed and will say why */
    return !exchange_submit(x, WORK_ABORT);
}

void exchange_iobuf_home(struct iobuf *b)
{
    struct exchange *x = b->body;
    struct shard *s = x->conn->shard;
    x->body_home += b->n;
    size_t charge = iobuf_put(&s->iobufs, b);
    x->outstanding -= charge;
    budget_give(&s->server->budget, charge);
    if (x->paused || x->settling || x->every_home || x->sink->ops->failed(x->sink)) {
        x->paused = false;
        x->wake(x);
    }
}

/* Small enough for what is still to come, and for two of them to fit the window, so that receiving
 * and writing overlap. */
static unsigned next_class(const struct exchange *x, size_t here)
{
    uint64_t window = x->conn->shard->server->config.limits.upload_window_bytes;
    uint64_t left = x->body_left;
    if (here > 0 && left > here)
        left = here;
    unsigned class = iobuf_class(left);
    if (here == 0 && class > x->class)
        class = x->class;
    while (class > 0 && 2 * iobuf_class_charge(class) > window)
        class --;
    return class;
}

struct iobuf *exchange_buffer(struct exchange *x, size_t here)
{
    struct http_server *s = x->conn->shard->server;
    if (!x->granted) {
        x->wait_class = next_class(x, here);
        x->wait.bytes = iobuf_class_charge(x->wait_class);
        if (x->outstanding > 0 &&
            x->outstanding + x->wait.bytes > s->config.limits.upload_window_bytes) {
            x->paused = true;
            return NULL;
        }
        if (!budget_take(&s->budget, &x->wait)) {
            metric_limit(LIMIT_RECEIVE_PAUSE);
            x->waiting = true;
            return NULL;
        }
    }
    x->granted = false;
    return iobuf_get(&x->conn->shard->iobufs, x->wait_class);
}

/* Faster clients get larger buffers, slower ones smaller. */
void exchange_adapt_class(struct exchange *x, const struct iobuf *b, size_t got)
{
    if (got == b->cap && x->class < IOBUF_CLASSES - 1)
        x->class ++;
    else if (got < b->cap / 4 && x->class > 0)
        x->class --;
}

void exchange_push(struct exchange *x, struct iobuf *b, uint64_t offset)
{
    if (b->n == 0) {
        budget_give(&x->conn->shard->server->budget, iobuf_put(&x->conn->shard->iobufs, b));
        return;
    }
    b->offset = offset;
    b->body = x;
    x->outstanding += iobuf_class_charge(iobuf_class(b->cap));
    x->sink->ops->push(x->sink, b);
    iobuf_unref(b);
    exchange_set_load(x, x->body_left == BODY_UNKNOWN ? UNKNOWN_LOAD_BYTES : x->body_left);
}
