#include "cli/tag_rows.h"

#include "base/clock.h"
#include "json/write.h"

static str member(const json_t *json, const char *key, struct arena *a)
{
    str value;
    return json_member_str(json, key, &value) ? arena_str(a, value) : str_make(NULL, 0);
}

static struct tag_row *add(struct tag_rows *rows, struct arena *a)
{
    if (rows->n == rows->cap) {
        rows->cap = rows->cap ? 2 * rows->cap : 64;
        struct tag_row *grown = ARENA_ARRAY(a, rows->cap, struct tag_row);
        if (rows->n)
            memcpy(grown, rows->items, rows->n * sizeof *grown);
        rows->items = grown;
    }
    return &rows->items[rows->n++];
}

void tag_rows_read(struct tag_rows *rows, const json_t *page, struct arena *a)
{
    const json_t *history = json_member(page, "history");
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *json = json_array_get(history, i);
        *add(rows, a) = (struct tag_row){
            .from = member(json, "from", a),
            .until = member(json, "until", a),
            .from_by = member(json, "from_by", a),
            .until_by = member(json, "until_by", a),
            .digest = member(json, "digest", a),
            .media_type = member(json, "media_type", a),
            .exists = json_is_true(json_member(json, "exists")),
        };
    }
}

static str or_else(str s, str other)
{
    return s.p ? s : other;
}

/* A lifetime that ended without another one beginning ended with the tag. */
static bool was_deleted(const struct tag_rows *rows, size_t i)
{
    return rows->items[i].until.p &&
           (i == 0 || !str_eq(rows->items[i].until, rows->items[i - 1].from));
}

void tag_rows_table(const struct tag_rows *rows, struct buf *out)
{
    const str anonymous = STR("(anonymous)");
    int width = 2;
    for (size_t i = 0; i < rows->n; i++) {
        str by = or_else(rows->items[i].from_by, anonymous);
        if ((int)by.n > width)
            width = (int)by.n;
    }
    buf_printf(out, "%-*s  %-*s  %-*s  DIGEST\n", CLOCK_RFC3339_LEN, "FROM", CLOCK_RFC3339_LEN,
               "UNTIL", width, "BY");
    for (size_t i = 0; i < rows->n; i++) {
        const struct tag_row *row = &rows->items[i];
        str until = or_else(row->until, STR("now")), by = or_else(row->from_by, anonymous);
        buf_printf(out, "%-*.*s  %-*.*s  %-*.*s  %.*s", CLOCK_RFC3339_LEN, STR_ARG(row->from),
                   CLOCK_RFC3339_LEN, STR_ARG(until), width, STR_ARG(by), STR_ARG(row->digest));
        if (was_deleted(rows, i))
            buf_printf(out, "  tag deleted by %.*s", STR_ARG(or_else(row->until_by, anonymous)));
        buf_printf(out, "%s\n", row->exists ? "" : "  manifest deleted");
    }
}

void tag_rows_columns(const struct tag_rows *rows, struct buf *out)
{
    const str none = STR("-");
    for (size_t i = 0; i < rows->n; i++) {
        const struct tag_row *row = &rows->items[i];
        buf_printf(out, "%.*s\t%.*s\t%.*s\t%.*s\t%.*s\t%s\n", STR_ARG(row->from),
                   STR_ARG(or_else(row->until, none)), STR_ARG(or_else(row->from_by, none)),
                   STR_ARG(or_else(row->until_by, none)), STR_ARG(row->digest),
                   row->exists ? "kept" : "deleted");
    }
}

static void write_text(struct json_writer *w, const char *key, str value)
{
    jw_key(w, key);
    if (value.p)
        jw_str(w, value);
    else
        jw_null(w);
}

void tag_rows_json(const struct tag_rows *rows, struct buf *out)
{
    struct json_writer w = {.out = out};
    jw_object(&w);
    jw_field(&w, "repository", rows->repository);
    jw_field(&w, "tag", rows->tag);
    jw_key(&w, "history");
    jw_array(&w);
    for (size_t i = 0; i < rows->n; i++) {
        const struct tag_row *row = &rows->items[i];
        jw_object(&w);
        write_text(&w, "digest", row->digest);
        write_text(&w, "from", row->from);
        write_text(&w, "from_by", row->from_by);
        write_text(&w, "until", row->until);
        write_text(&w, "until_by", row->until_by);
        jw_key(&w, "exists");
        jw_bool(&w, row->exists);
        if (row->media_type.p)
            jw_field(&w, "media_type", row->media_type);
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    buf_byte(out, '\n');
}
