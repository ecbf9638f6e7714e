#include "http/trace.h"

#include "base/clock.h"
#include "base/hex.h"

enum { MEMBERS_MAX = 32, KEY_MAX = 256, VALUE_MAX = 256, FLAG_RANDOM = 2, FLAGS_KNOWN = 3 };

static bool is_lower_hex(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

static bool is_zero(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '0')
            return false;
    return true;
}

/* version "-" trace-id "-" parent-id "-" trace-flags; a later version may go on behind a "-". */
bool trace_parse(str traceparent, struct trace *ret)
{
    enum { ID_AT = 3, SPAN_AT = 36, FLAGS_AT = 53 };
    struct trace t = {0};
    str s = str_first(traceparent, TRACE_PARENT_LEN);
    if (s.n != TRACE_PARENT_LEN)
        return false;
    str version = str_first(s, 2), id = str_make(s.p + ID_AT, TRACE_ID_LEN);
    str span = str_make(s.p + SPAN_AT, TRACE_SPAN_LEN);
    bool dashes = s.p[ID_AT - 1] == '-' && s.p[SPAN_AT - 1] == '-' && s.p[FLAGS_AT - 1] == '-';
    bool more = traceparent.n > s.n;
    if (!dashes || !is_lower_hex(version) || !is_lower_hex(id) || !is_lower_hex(span) ||
        is_zero(id) || is_zero(span) || str_eq(version, STR("ff")))
        return false;
    if (more && (str_eq(version, STR("00")) || traceparent.p[s.n] != '-'))
        return false;
    if (!hex_decode(str_skip(s, FLAGS_AT), true, &t.flags, 1))
        return false;
    memcpy(t.id, id.p, sizeof t.id);
    memcpy(t.span, span.p, sizeof t.span);
    *ret = t;
    return true;
}

/* lcalpha, or a digit in front of a tenant's '@', then also digits, "_-*" and '/'. */
static bool key_valid(str key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!letter && (i == 0 || !c || !strchr("_-*/@", c)))
            return false;
    }
    return key.n > 0 && key.n <= KEY_MAX;
}

/* Printable, without ',' and '=', and not ending in a blank. */
static bool value_valid(str value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < ' ' || value.p[i] > '~' || value.p[i] == ',' || value.p[i] == '=')
            return false;
    return value.n > 0 && value.n <= VALUE_MAX && value.p[value.n - 1] != ' ';
}

bool trace_state_valid(str state)
{
    str member, key, value;
    size_t n = 0;
    if (state.n > TRACE_STATE_MAX)
        return false;
    while (str_next(&state, ',', &member)) {
        member = str_trim(member);
        if (member.n == 0)
            continue;
        if (++n > MEMBERS_MAX || !str_cut(member, '=', &key, &value) || !key_valid(key) ||
            !value_valid(value))
            return false;
    }
    return n > 0;
}

bool trace_of_request(const struct request *req, struct arena *a, struct trace *ret)
{
    struct trace t;
    if (!trace_parse(request_header(req, STR("traceparent")), &t) ||
        request_header_nth(req, STR("traceparent"), 1).p)
        return false;
    str state = {0}, next;
    for (size_t i = 0; (next = request_header_nth(req, STR("tracestate"), i)).p; i++) {
        if (state.n + next.n > TRACE_STATE_MAX)
            break;
        state = i == 0 ? next : arena_printf(a, "%.*s,%.*s", STR_ARG(state), STR_ARG(next));
    }
    if (!next.p && trace_state_valid(state))
        t.state = state;
    *ret = t;
    return true;
}

void trace_new(struct trace *ret)
{
    uint8_t id[TRACE_ID_LEN / 2], span[TRACE_SPAN_LEN / 2];
    *ret = (struct trace){.flags = FLAG_RANDOM};
    random_bytes(id, sizeof id);
    random_bytes(span, sizeof span);
    id[0] |= 1; /* neither is all zeroes */
    span[0] |= 1;
    hex_encode(ret->id, id, sizeof id);
    hex_encode(ret->span, span, sizeof span);
}

str trace_child(const struct trace *t, char out[TRACE_PARENT_LEN])
{
    uint8_t span[TRACE_SPAN_LEN / 2], flags = t->flags & FLAGS_KNOWN;
    random_bytes(span, sizeof span);
    span[0] |= 1; /* not all zeroes */
    memcpy(out, "00-", 3);
    memcpy(out + 3, t->id, TRACE_ID_LEN);
    out[35] = '-';
    hex_encode(out + 36, span, sizeof span);
    out[52] = '-';
    hex_encode(out + 53, &flags, 1);
    return str_make(out, TRACE_PARENT_LEN);
}
