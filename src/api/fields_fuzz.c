#include "api/content_range.h"
#include "api/platform_help.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Values of header fields that are read by hand: Content-Range, User-Agent, entity tags. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const str etag = STR_INIT("\"sha256:ab\"");
    ARENA_CLEANUP struct arena a = {0};
    str value = str_make(data, n), platform;
    uint64_t first, last;
    if (content_range_parse(value, &first, &last) && (first > INT64_MAX || last >= INT64_MAX))
        __builtin_trap();
    if (platform_of_agent(&a, value, &platform) && !platform_serves(platform, platform))
        __builtin_trap();
    struct field match = {STR("if-match"), value}, none = {STR("if-none-match"), value};
    struct request req = {.arena = &a, .method = METHOD_GET, .fields = &match, .field_n = 1};
    bool listed = request_condition(&req, etag) == CONDITION_HOLDS;
    req.fields = &none;
    if (listed && request_condition(&req, etag) != CONDITION_NOT_MODIFIED)
        __builtin_trap(); /* what compares strongly compares weakly */
    return 0;
}
