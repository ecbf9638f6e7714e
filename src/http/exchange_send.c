/* What of a response's plan is out, and which file data is in memory. Before a slice of a file is
 * sent it is looked for in the page cache; when it is not there a worker reads it first, so that
 * the reactor does not wait for a disk. */
#include "http/exchange.h"

bool exchange_bodiless(const struct exchange *x)
{
    int status = x->res.status;
    return x->req.method == METHOD_HEAD || status == 204 || status == 304;
}

void exchange_send_begin(struct exchange *x)
{
    x->segment = exchange_bodiless(x) ? NULL : x->res.first;
    x->segment_sent = 0;
    x->warm_end = 0;
}

void exchange_sent(struct exchange *x, uint64_t n)
{
    x->body_out += n;
    while (n > 0 && x->segment) {
        uint64_t left = x->segment->n - x->segment_sent;
        if (n < left) {
            x->segment_sent += n;
            return;
        }
        n -= left;
        x->segment = x->segment->next;
        x->segment_sent = 0;
        x->warm_end = 0;
    }
}

void exchange_send_pause(struct exchange *x)
{
    if (x->answered && !x->first_byte_us)
        x->first_byte_us = clock_mono_us() - x->req.start_us;
}

uint64_t exchange_warm(struct exchange *x, uint64_t n)
{
    struct segment *s = x->segment;
    uint64_t at = s->offset + x->segment_sent;
    if (at >= x->warm_end) {
        x->warm_end = at + n;
        if (!file_is_resident(s->file, at, n, reactor_now_ms(x->conn->shard->reactor)))
            return 0;
    }
    return n < x->warm_end - at ? n : x->warm_end - at;
}

/* The date is written anew once a second. */
str shard_date(struct shard *s)
{
    int64_t second = clock_wall_s();
    if (second != s->date_second) {
        s->date_second = second;
        clock_http_date(second * 1000000, s->date);
    }
    return str_make(s->date, CLOCK_HTTP_LEN);
}
