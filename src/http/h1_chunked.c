#include "http/chars.h"
#include "http/h1_parse.h"

/* One state a kind of byte that may come next. A zeroed decoder is at the start of a chunk. */
enum state {
    SIZE_FIRST, /* first digit of a size */
    SIZE,       /* further digits, ';' or CR */
    EXTENSION,  /* anything but control bytes, up to CR */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_FIRST, /* first byte of a trailer's name, or CR of the last line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
};

enum { LINE_BYTES_MAX = 1024, TRAILER_BYTES_MAX = 8192 };

static bool is_text(char c)
{
    return ((uint8_t)c >= 0x20 && c != 0x7f) || c == '\t';
}

static enum err take_digit(struct h1_chunked *c, char byte)
{
    int digit = char_hex(byte);
    if (digit < 0 || c->left > (uint64_t)INT64_MAX >> 4)
        return ERR_BAD_REQUEST;
    c->left = c->left << 4 | (unsigned)digit;
    c->state = SIZE;
    return OK;
}

/* `byte` must be `want`. */
static enum err expect(struct h1_chunked *c, char byte, char want, enum state next)
{
    c->state = next;
    return byte == want ? OK : ERR_BAD_REQUEST;
}

/* Text goes on in this state until CR leads to the next. */
static enum err text_or_cr(struct h1_chunked *c, char byte, enum state next)
{
    if (byte == '\r')
        c->state = next;
    return byte == '\r' || is_text(byte) ? OK : ERR_BAD_REQUEST;
}

/* Takes one byte of framing. */
static enum err step(struct h1_chunked *c, char byte)
{
    switch ((enum state)c->state) {
    case SIZE_FIRST:
        return take_digit(c, byte);
    case SIZE:
        if (byte == ';')
            c->state = EXTENSION;
        else if (byte == '\r')
            c->state = SIZE_LF;
        else
            return take_digit(c, byte);
        return OK;
    case EXTENSION:
        return text_or_cr(c, byte, SIZE_LF);
    case SIZE_LF:
        return expect(c, byte, '\n', c->left ? DATA : TRAILER_FIRST);
    case DATA: /* h1_chunked_next takes these */
        break;
    case DATA_CR:
        return expect(c, byte, '\r', DATA_LF);
    case DATA_LF:
        return expect(c, byte, '\n', SIZE_FIRST);
    case TRAILER_FIRST:
        c->state = byte == '\r' ? END_LF : TRAILER_NAME;
        return byte == '\r' || char_is(byte, CHAR_TOKEN) ? OK : ERR_BAD_REQUEST;
    case TRAILER_NAME:
        if (byte == ':')
            c->state = TRAILER_VALUE;
        return byte == ':' || char_is(byte, CHAR_TOKEN) ? OK : ERR_BAD_REQUEST;
    case TRAILER_VALUE:
        return text_or_cr(c, byte, TRAILER_LF);
    case TRAILER_LF:
        return expect(c, byte, '\n', TRAILER_FIRST);
    case END_LF:
        c->done = true;
        return expect(c, byte, '\n', END_LF);
    }
    return ERR_INTERNAL;
}

enum err h1_chunked_next(struct h1_chunked *c, str *in, str *data)
{
    str rest = *in;
    while (rest.n > 0 && !c->done) {
        if (c->state == DATA) {
            *data = str_first(rest, c->left < rest.n ? (size_t)c->left : rest.n);
            c->left -= data->n;
            c->total += data->n;
            if (c->left == 0)
                c->state = DATA_CR;
            *in = str_skip(rest, data->n);
            return OK;
        }
        c->trailer_bytes += c->state >= TRAILER_FIRST;
        enum err e = step(c, rest.p[0]);
        if (e)
            return e;
        /* LF is accepted at the end of a line only. */
        c->line_bytes = rest.p[0] == '\n' ? 0 : c->line_bytes + 1;
        if (c->line_bytes > LINE_BYTES_MAX || c->trailer_bytes > TRAILER_BYTES_MAX)
            return ERR_BAD_REQUEST;
        rest = str_skip(rest, 1);
    }
    *in = rest;
    *data = str_first(rest, 0);
    return OK;
}
