#include "http/client_read.h"

#include "http/chars.h"

str client_header(const struct client_answer *answer, str name)
{
    for (size_t i = 0; i < answer->field_n; i++)
        if (str_eq(answer->fields[i].name, name))
            return answer->fields[i].value;
    return (str){0};
}

/* Takes a line off the front, without its CRLF. */
static bool take_line(str *rest, str *line)
{
    size_t n = str_text_length(*rest);
    if (rest->n - n < 2 || rest->p[n] != '\r' || rest->p[n + 1] != '\n')
        return false;
    *line = str_first(*rest, n);
    *rest = str_skip(*rest, n + 2);
    return true;
}

/* HTTP/1.1 200 OK */
static bool parse_status(str line, int *ret)
{
    str version, rest, code, reason;
    uint64_t status;
    if (!str_cut(line, ' ', &version, &rest) ||
        !(str_eq(version, STR("HTTP/1.1")) || str_eq(version, STR("HTTP/1.0"))))
        return false;
    str_cut(rest, ' ', &code, &reason);
    if (code.n != 3 || !str_u64(code, &status) || status < 100)
        return false;
    *ret = (int)status;
    return true;
}

static bool parse_field(struct arena *a, str line, struct field *ret)
{
    str name, value;
    if (!str_cut(line, ':', &name, &value) || !str_is(name, CHAR_TOKEN))
        return false;
    char *lower = arena_cstr(a, name);
    for (size_t i = 0; i < name.n; i++)
        if (lower[i] >= 'A' && lower[i] <= 'Z')
            lower[i] |= 0x20;
    *ret = (struct field){str_make(lower, name.n), str_trim(value)};
    return true;
}

static enum err parse_head(struct arena *a, str head, struct client_answer *ret)
{
    str line;
    ret->fields = ARENA_ARRAY(a, CLIENT_FIELDS_MAX, struct field);
    ret->field_n = 0;
    if (!take_line(&head, &line) || !parse_status(line, &ret->status))
        return ERR_SYNTAX;
    while (take_line(&head, &line) && line.n > 0) {
        if (ret->field_n == CLIENT_FIELDS_MAX)
            return ERR_LIMIT;
        if (!parse_field(a, line, &ret->fields[ret->field_n++]))
            return ERR_SYNTAX;
    }
    return head.n == 0 ? OK : ERR_SYNTAX;
}

/* How the body is framed (RFC 9112 6.3). */
static enum err frame_body(struct client_reader *r)
{
    const struct client_answer *answer = &r->answer;
    str length = client_header(answer, STR("content-length"));
    str coding = client_header(answer, STR("transfer-encoding"));
    if (r->no_body || answer->status == 204 || answer->status == 304) {
        r->step = CLIENT_DONE;
    } else if (coding.p) {
        r->step = CLIENT_CHUNKED;
        return !length.p && str_eq_nocase(coding, STR("chunked")) ? OK : ERR_SYNTAX;
    } else if (length.p) {
        if (!str_u64(length, &r->left))
            return ERR_SYNTAX;
        r->step = r->left ? CLIENT_LENGTH : CLIENT_DONE;
        return r->left <= r->body.limit ? OK : ERR_LIMIT;
    } else {
        r->step = CLIENT_UNTIL_END;
    }
    return OK;
}

static enum err take_head(struct client_reader *r, str *bytes)
{
    if (!r->head)
        r->head = arena_alloc(r->arena, CLIENT_HEAD_BYTES_MAX);
    size_t before = r->head_n, room = CLIENT_HEAD_BYTES_MAX - r->head_n;
    str part = str_first(*bytes, room);
    memcpy(r->head + r->head_n, part.p, part.n);
    r->head_n += part.n;
    size_t n = h1_head_length(str_make(r->head, r->head_n), &r->scanned);
    if (n == 0) {
        *bytes = str_skip(*bytes, part.n);
        return r->head_n == CLIENT_HEAD_BYTES_MAX ? ERR_LIMIT : OK;
    }
    *bytes = str_skip(*bytes, n - before);
    r->head_n = r->scanned = 0;
    /* Fields are cut out of a copy: an interim response is followed by another head. */
    enum err e = parse_head(r->arena, arena_str(r->arena, str_make(r->head, n)), &r->answer);
    if (e || r->answer.status < 200)
        return e ? e : r->answer.status == 101 ? ERR_SYNTAX : OK;
    return frame_body(r);
}

static enum err take_chunked(struct client_reader *r, str *bytes)
{
    str data;
    if (h1_chunked_next(&r->chunked, bytes, &data))
        return ERR_SYNTAX;
    if (r->chunked.done)
        r->step = CLIENT_DONE;
    return buf_add(&r->body, data) ? OK : ERR_LIMIT;
}

static enum err take_plain(struct client_reader *r, str *bytes)
{
    str data = *bytes;
    if (r->step == CLIENT_LENGTH) {
        data = str_first(data, r->left);
        r->left -= data.n;
        if (r->left == 0)
            r->step = CLIENT_DONE;
    }
    *bytes = str_skip(*bytes, data.n);
    return buf_add(&r->body, data) ? OK : ERR_LIMIT;
}

enum err client_read(struct client_reader *r, str bytes)
{
    enum err e = OK;
    while (!e && bytes.n > 0 && r->step != CLIENT_DONE) {
        if (r->step == CLIENT_HEAD)
            e = take_head(r, &bytes);
        else if (r->step == CLIENT_CHUNKED)
            e = take_chunked(r, &bytes);
        else
            e = take_plain(r, &bytes);
    }
    r->answer.body = buf_str(&r->body);
    return e;
}

enum err client_read_end(struct client_reader *r)
{
    if (r->step == CLIENT_UNTIL_END)
        r->step = CLIENT_DONE;
    return r->step == CLIENT_DONE ? OK : ERR_CLOSED;
}
