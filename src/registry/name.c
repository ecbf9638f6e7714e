#include "registry/name.h"

static bool is_alnum_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* */
static bool component_is_valid(str s)
{
    size_t i = 0;
    while (i < s.n && is_alnum_lower(s.p[i])) {
        while (i < s.n && is_alnum_lower(s.p[i]))
            i++;
        if (i == s.n)
            return true;
        char separator = s.p[i];
        size_t run = 0;
        while (i < s.n && s.p[i] == separator) {
            i++;
            run++;
        }
        bool fits =
            separator == '-' || (separator == '.' && run == 1) || (separator == '_' && run <= 2);
        if (!fits)
            return false;
    }
    return false; /* empty, or a separator at an end or next to another one */
}

static enum err too_long(struct arena *a, size_t n, struct error *why)
{
    return error_set(a, why, ERR_NAME_INVALID,
                     "a repository name may have at most %d characters (an unqualified one counts "
                     "with library/ before it); this one has %zu",
                     NAME_LENGTH_MAX, n);
}

enum err name_parse(struct arena *a, str asked, struct name *ret, struct error *why)
{
    if (asked.n > NAME_LENGTH_MAX)
        return too_long(a, asked.n, why);
    str rest = asked, component;
    size_t components = 0;
    while (str_next(&rest, '/', &component)) {
        components++;
        if (!component_is_valid(component))
            return error_set(a, why, ERR_NAME_INVALID,
                             "invalid repository name \"%.*s\": each part between slashes is lower-"
                             "case letters and digits, with single . or _ or __ or dashes between "
                             "them; \"%.*s\" is not",
                             STR_ARG(asked), STR_ARG(component));
    }
    struct name name = {.asked = arena_str(a, asked)};
    name.full = components > 1 ? name.asked : arena_printf(a, "library/%.*s", STR_ARG(asked));
    if (name.full.n > NAME_LENGTH_MAX)
        return too_long(a, name.full.n, why);
    str_cut(name.full, '/', &name.project, &rest);
    *ret = name;
    return OK;
}

bool name_matches(str full, str pattern)
{
    if (!str_ends(pattern, STR("*")))
        return str_eq(full, pattern);
    pattern.n--; /* what is left is empty or ends in '/' */
    return str_starts(full, pattern);
}

bool tag_is_valid(str tag)
{
    if (tag.n == 0 || tag.n > TAG_LENGTH_MAX || tag.p[0] == '.' || tag.p[0] == '-')
        return false;
    for (size_t i = 0; i < tag.n; i++) {
        char c = tag.p[i];
        bool fits = is_alnum_lower(c) || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-';
        if (!fits)
            return false;
    }
    return true;
}

enum err reference_parse(struct arena *a, str text, struct reference *ret, struct error *why)
{
    struct reference reference = {.text = arena_str(a, text)};
    if (str_find(text, ':') < text.n) {
        reference.is_digest = true;
        if (digest_parse(text, false, &reference.digest))
            return error_set(a, why, ERR_DIGEST_INVALID,
                             "invalid digest \"%.*s\": expected sha256: and 64, or sha512: and 128 "
                             "lower-case hexadecimal digits",
                             STR_ARG(str_first(text, 200)));
    } else if (tag_is_valid(text)) {
        reference.tag = reference.text;
    } else {
        return error_set(a, why, ERR_TAG_INVALID,
                         "invalid tag \"%.*s\": a tag has at most %d letters, digits, '_', '.' and "
                         "'-', and does not begin with '.' or '-'",
                         STR_ARG(str_first(text, 200)), TAG_LENGTH_MAX);
    }
    *ret = reference;
    return OK;
}
