#include "http/response.h"

/* Takes the next entity tag off a field value: its opaque part without quotes. Some clients leave
 * the quotes out; then it ends at white space or a comma. False at the end, and at a quote that is
 * never closed. */
static bool next_tag(str *rest, str *opaque, bool *weak)
{
    while (rest->n > 0 && (rest->p[0] == ',' || rest->p[0] == ' ' || rest->p[0] == '\t'))
        *rest = str_skip(*rest, 1);
    if (rest->n == 0)
        return false;
    *weak = str_starts(*rest, STR("W/"));
    if (*weak)
        *rest = str_skip(*rest, 2);
    if (rest->n > 0 && rest->p[0] == '"')
        return str_cut(str_skip(*rest, 1), '"', opaque, rest);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ',' && rest->p[n] != ' ' && rest->p[n] != '\t')
        n++;
    *opaque = str_first(*rest, n);
    *rest = str_skip(*rest, n);
    return true;
}

/* Whether one of the fields called `name` lists the tag (or is "*"). */
static bool lists(const struct request *req, str name, str etag, bool strong)
{
    str opaque = etag.n >= 2 ? str_first(str_skip(etag, 1), etag.n - 2) : etag;
    str value;
    for (size_t i = 0; (value = request_header_nth(req, name, i)).p; i++) {
        if (str_eq(value, STR("*")))
            return etag.p != NULL;
        str tag;
        bool weak;
        while (next_tag(&value, &tag, &weak))
            if (etag.p && str_eq(tag, opaque) && !(strong && weak))
                return true;
    }
    return false;
}

enum condition request_condition(const struct request *req, str etag)
{
    static const str if_match = STR_INIT("if-match"), if_none_match = STR_INIT("if-none-match");
    if (request_header(req, if_match).p && !lists(req, if_match, etag, true))
        return CONDITION_FAILED;
    if (request_header(req, if_none_match).p && lists(req, if_none_match, etag, false)) {
        bool reads = req->method == METHOD_GET || req->method == METHOD_HEAD;
        return reads ? CONDITION_NOT_MODIFIED : CONDITION_FAILED;
    }
    return CONDITION_HOLDS;
}
