#include "conf/yaml_read.h"

#include "base/map.h"

#include <stdlib.h>
#include <yaml.h>

/* One mapping or list that is open. */
struct frame {
    struct yaml_entry *entry; /* NULL for the outermost mapping */
    str key;                  /* mapping: the key that waits for its value; p NULL: none */
    unsigned key_line;
    bool list;
};

struct reader {
    yaml_parser_t parser;
    struct arena *a;
    str text;
    struct map seen; /* paths; the values do not matter */
    struct frame frames[YAML_DEPTH_MAX];
    unsigned depth; /* open frames */
    unsigned documents;
    struct yaml_entry *entries;
    size_t entry_n;
    str *values;
    size_t value_n;
    unsigned line; /* of the event at hand, later of the failure */
    str why;
};

static void reader_release(struct reader *r)
{
    yaml_parser_delete(&r->parser);
    map_release(&r->seen);
}

static void event_release(yaml_event_t *event)
{
    yaml_event_delete(event);
}

static enum err refuse(struct reader *r, enum err e, const char *why)
{
    r->why = str_from(why);
    return e;
}

/* Line `number` of the text, without leading spaces. */
static str text_line(str text, unsigned number)
{
    str line = {0};
    while (number > 0 && str_next(&text, '\n', &line))
        number--;
    while (str_starts(line, STR(" ")))
        line = str_skip(line, 1);
    return line;
}

/* What people most often did when the parser gives up on a line. */
static const char *syntax_hint(str line)
{
    str key, value;
    if (str_starts(line, STR("\t")))
        return " (indent with spaces, not with tabs)";
    if (!str_cut(line, ':', &key, &value))
        value = str_starts(line, STR("- ")) ? str_skip(line, 1) : STR("");
    value = str_trim(value);
    if (value.n && strchr("[]{}*&!|>%@`#,\"'", value.p[0]))
        return " (put quotes around a value that starts with a special character)";
    return "";
}

static enum err refuse_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_READER_ERROR) {
        size_t end = p->problem_offset < r->text.n ? p->problem_offset : r->text.n;
        r->line = 1;
        for (size_t i = 0; i < end; i++)
            r->line += r->text.p[i] == '\n';
        return refuse(r, ERR_SYNTAX, "not UTF-8 text");
    }
    r->line = (unsigned)p->problem_mark.line + 1;
    r->why = arena_printf(r->a, "not valid YAML: %s%s", p->problem ? p->problem : "syntax error",
                          syntax_hint(text_line(r->text, r->line)));
    return ERR_SYNTAX;
}

static struct frame *top(struct reader *r)
{
    return r->depth ? &r->frames[r->depth - 1] : NULL;
}

static enum err push(struct reader *r, struct frame frame)
{
    if (r->depth == YAML_DEPTH_MAX)
        return refuse(r, ERR_LIMIT, "nested too deeply");
    r->frames[r->depth++] = frame;
    return OK;
}

static enum err add_key(struct reader *r, struct frame *f, str key)
{
    if (str_eq(key, STR("<<")))
        return refuse(r, ERR_SYNTAX, "merge keys (<<) are not supported");
    if (key.n == 0)
        return refuse(r, ERR_SYNTAX, "a key is empty");
    if (key.n > YAML_KEY_BYTES_MAX || memchr(key.p, '\0', key.n))
        return refuse(r, ERR_SYNTAX, "a key is too long or holds a NUL byte");
    if (str_find(key, '.') < key.n) {
        r->why =
            arena_printf(r->a, "a key has no dot: write \"%.*s:\" and the rest below it, indented",
                         STR_ARG(str_first(key, str_find(key, '.'))));
        return ERR_SYNTAX;
    }
    f->key = f->entry ? arena_printf(r->a, "%.*s.%.*s", STR_ARG(f->entry->path), STR_ARG(key))
                      : arena_str(r->a, key);
    f->key_line = r->line;
    if (map_set(&r->seen, f->key, r)) {
        r->why = arena_printf(r->a, "\"%.*s\" is there twice", STR_ARG(f->key));
        return ERR_SYNTAX;
    }
    return OK;
}

/* Begins the entry of the waiting key. */
static enum err add_entry(struct reader *r, enum yaml_kind kind, struct yaml_entry **ret)
{
    struct frame *f = top(r);
    if (r->entry_n == YAML_ENTRIES_MAX)
        return refuse(r, ERR_LIMIT, "too many keys");
    struct yaml_entry *entry = &r->entries[r->entry_n++];
    *entry = (struct yaml_entry){
        .path = f->key, .line = f->key_line, .kind = kind, .values = &r->values[r->value_n]};
    f->key = (str){0};
    *ret = entry;
    return OK;
}

static enum err add_value(struct reader *r, struct yaml_entry *entry, str value)
{
    if (r->value_n == YAML_VALUES_MAX)
        return refuse(r, ERR_LIMIT, "too many values");
    r->values[r->value_n++] = arena_str(r->a, value);
    entry->n++;
    return OK;
}

static bool is_null(str s)
{
    return str_eq(s, STR("~")) || str_eq(s, STR("null")) || str_eq(s, STR("Null")) ||
           str_eq(s, STR("NULL"));
}

static enum err on_scalar(struct reader *r, const yaml_event_t *event)
{
    str text = str_make(event->data.scalar.value, event->data.scalar.length);
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    struct frame *f = top(r);
    if (!f && plain && text.n == 0)
        return OK; /* "---" with nothing behind it */
    if (!f)
        return refuse(r, ERR_SYNTAX, "options expected, such as \"listen: 127.0.0.1:5000\"");
    if (!f->list && !f->key.p)
        return add_key(r, f, text);
    if (plain && is_null(text))
        return refuse(r, ERR_SYNTAX,
                      "null is not a value: leave the option out, or quote the word");
    if (f->list)
        return add_value(r, f->entry, text);
    struct yaml_entry *entry;
    enum err e = add_entry(r, plain && text.n == 0 ? YAML_NOTHING : YAML_SCALAR, &entry);
    return e || entry->kind == YAML_NOTHING ? e : add_value(r, entry, text);
}

static enum err on_start(struct reader *r, bool list)
{
    struct frame *f = top(r);
    struct yaml_entry *entry = NULL;
    if (f && f->list)
        return refuse(r, ERR_SYNTAX, "a list holds plain values only");
    if (f && !f->key.p)
        return refuse(r, ERR_SYNTAX, "a key is a plain word");
    if (!f && list)
        return refuse(r, ERR_SYNTAX, "options expected, not a list");
    if (f) {
        enum err e = add_entry(r, list ? YAML_LIST : YAML_SECTION, &entry);
        if (e)
            return e;
    }
    return push(r, (struct frame){.entry = entry, .list = list});
}

static enum err on_document(struct reader *r, const yaml_event_t *event)
{
    if (r->documents++)
        return refuse(r, ERR_SYNTAX, "only one document is allowed (a second \"---\")");
    if (event->data.document_start.version_directive ||
        event->data.document_start.tag_directives.start !=
            event->data.document_start.tag_directives.end)
        return refuse(r, ERR_SYNTAX, "directives (%) are not supported");
    return OK;
}

/* Anchor and tag of an event sit in a different place for each kind. */
static enum err check_plain(struct reader *r, const void *anchor, const void *tag)
{
    if (anchor)
        return refuse(r, ERR_SYNTAX, "anchors (&) are not supported; quote the value if it is one");
    if (tag)
        return refuse(r, ERR_SYNTAX, "tags (!) are not supported; quote the value if it is one");
    return OK;
}

static enum err on_event(struct reader *r, const yaml_event_t *event)
{
    enum err e = OK;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return on_document(r, event);
    case YAML_ALIAS_EVENT:
        return refuse(r, ERR_SYNTAX, "aliases (*) are not supported; quote the value if it is one");
    case YAML_SCALAR_EVENT:
        e = check_plain(r, event->data.scalar.anchor, event->data.scalar.tag);
        return e ? e : on_scalar(r, event);
    case YAML_SEQUENCE_START_EVENT:
        e = check_plain(r, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        return e ? e : on_start(r, true);
    case YAML_MAPPING_START_EVENT:
        e = check_plain(r, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        return e ? e : on_start(r, false);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return OK;
    }
    return OK;
}

static enum err read_events(struct reader *r)
{
    for (bool end = false; !end;) {
        __attribute__((cleanup(event_release))) yaml_event_t event = {0};
        if (!yaml_parser_parse(&r->parser, &event))
            return refuse_syntax(r);
        r->line = (unsigned)event.start_mark.line + 1;
        enum err e = on_event(r, &event);
        if (e)
            return e;
        end = event.type == YAML_STREAM_END_EVENT;
    }
    return OK;
}

enum err yaml_read(struct arena *a, str text, struct yaml *ret, unsigned *line, str *why)
{
    __attribute__((cleanup(reader_release))) struct reader r = {.a = a, .text = text};
    enum err e = ERR_LIMIT;
    if (!yaml_parser_initialize(&r.parser))
        abort(); /* out of memory, as in arenas */
    if (text.n > YAML_BYTES_MAX) {
        r.why = STR("larger than 1 MiB");
    } else {
        r.entries = ARENA_ARRAY(a, YAML_ENTRIES_MAX, struct yaml_entry);
        r.values = ARENA_ARRAY(a, YAML_VALUES_MAX, str);
        yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""),
                                     text.n);
        e = read_events(&r);
    }
    if (e) {
        *line = r.line;
        *why = r.why;
        return e;
    }
    *ret = (struct yaml){r.entries, r.entry_n};
    return OK;
}
