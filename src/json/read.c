#include "json/read.h"

/* One linear pass: containers nest at most JSON_DEPTH_MAX deep, and the text holds at most
 * JSON_VALUES_MAX values (each comma and each opening bracket begins one). Strings are skipped
 * exactly, so brackets inside them do not count. */
static enum err scan(str text, const char **why)
{
    size_t depth = 0, values = 1;
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '"':
            for (i++; i < text.n && text.p[i] != '"'; i++)
                i += text.p[i] == '\\';
            break;
        case '[':
        case '{':
            values++;
            if (++depth > JSON_DEPTH_MAX) {
                *why = "nested deeper than 64 levels";
                return ERR_LIMIT;
            }
            break;
        case ']':
        case '}':
            depth -= depth > 0;
            break;
        case ',':
            values++;
            break;
        default:
            break;
        }
        if (values > JSON_VALUES_MAX) {
            *why = "more than 100000 values";
            return ERR_LIMIT;
        }
    }
    return OK;
}

enum err json_read(struct arena *a, str text, json_t **ret, str *why)
{
    const char *reason = "";
    enum err e = scan(text, &reason);
    if (e) {
        *why = str_from(reason);
        return e;
    }
    json_error_t error;
    json_t *tree =
        json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!tree) {
        *why = arena_printf(a, "line %d, column %d: %s", error.line, error.column, error.text);
        return ERR_SYNTAX;
    }
    *ret = tree;
    return OK;
}

const json_t *json_member(const json_t *object, const char *key)
{
    return json_object_get(object, key);
}

bool json_member_str(const json_t *object, const char *key, str *ret)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_string(v))
        return false;
    *ret = str_make(json_string_value(v), json_string_length(v));
    return true;
}

bool json_member_int(const json_t *object, const char *key, int64_t *ret)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_integer(v))
        return false;
    *ret = json_integer_value(v);
    return true;
}
