#include "auth/claims.h"

#include "auth/jws.h"
#include "auth/scope.h"
#include "base/test.h"

#include <stdlib.h>

static struct arena arena;

static enum err read_at(const char *json, int64_t now_s)
{
    struct claims c;
    return claims_read(&arena, str_from(json), STR("berth"), now_s, &c);
}

#define HEAD "{\"iss\":\"berth\",\"sub\":\"alice\",\"exp\":1000,\"nbf\":700,\"iat\":700,"
#define BODY "\"uid\":1,\"epoch\":0,"

static void round_trip(void)
{
    struct grant grants[2];
    CHECK(scope_parse(&arena, STR("repository:app:pull,push"), &grants[0]));
    CHECK(scope_parse(&arena, STR("registry:catalog:*"), &grants[1]));
    struct claims in = {.service = STR("berth"),
                        .name = STR("alice"),
                        .user = 3,
                        .epoch = 4,
                        .issued_s = 700,
                        .expires_s = 1000,
                        .grants = grants,
                        .grant_n = 2},
                  out = {0};
    str json;
    CHECK_INT(claims_write(&in, &arena, &json), OK);
    CHECK(str_contains(json, STR("\"access\":[{\"type\":\"repository\",\"name\":\"app\","
                                 "\"actions\":[\"pull\",\"push\"]},{\"type\":\"registry\","
                                 "\"name\":\"catalog\",\"actions\":[\"*\"]}]")));
    CHECK_INT(claims_read(&arena, json, STR("berth"), 800, &out), OK);
    CHECK_STR(out.name, "alice");
    CHECK_INT(out.user, 3);
    CHECK_INT(out.epoch, 4);
    CHECK_INT(out.expires_s, 1000);
    CHECK_INT(out.grant_n, 2);
    CHECK_STR(out.grants[0].name, "library/app");
    CHECK_STR(out.grants[0].asked, "app");
    CHECK_INT(out.grants[0].actions, ACTION_PULL | ACTION_PUSH);
    CHECK_INT(out.grants[1].actions, ACTION_CATALOG);
    arena_release(&arena);
}

static void judges_time_with_leeway(void)
{
    const char *json = HEAD BODY "\"aud\":\"berth\",\"access\":[]}";
    CHECK_INT(read_at(json, 639), ERR_UNAUTHORIZED);
    CHECK_INT(read_at(json, 640), OK);
    CHECK_INT(read_at(json, 1000), OK);
    CHECK_INT(read_at(json, 1059), OK);
    CHECK_INT(read_at(json, 1060), ERR_UNAUTHORIZED);
    arena_release(&arena);
}

static void judges_audience_and_issuer(void)
{
    CHECK_INT(read_at(HEAD BODY "\"aud\":[\"x\",\"berth\"],\"access\":[]}", 800), OK);
    CHECK_INT(read_at(HEAD BODY "\"aud\":[\"x\"],\"access\":[]}", 800), ERR_UNAUTHORIZED);
    CHECK_INT(read_at(HEAD BODY "\"aud\":\"registry\",\"access\":[]}", 800), ERR_UNAUTHORIZED);
    CHECK_INT(read_at(HEAD BODY "\"aud\":{},\"access\":[]}", 800), ERR_UNAUTHORIZED);
    CHECK_INT(read_at(HEAD BODY "\"access\":[]}", 800), ERR_UNAUTHORIZED);
    CHECK_INT(
        read_at("{\"iss\":\"other\",\"sub\":\"alice\",\"exp\":1000,\"nbf\":700,\"iat\":700," BODY
                "\"aud\":\"berth\",\"access\":[]}",
                800),
        ERR_UNAUTHORIZED);
    arena_release(&arena);
}

static void refuses_incomplete(void)
{
    static const char *const cases[] = {
        "",
        "{}",
        "[]",
        "null",
        HEAD BODY "\"aud\":\"berth\"}",
        HEAD BODY "\"aud\":\"berth\",\"access\":{}}",
        HEAD BODY "\"aud\":\"berth\",\"access\":[1]}",
        HEAD BODY "\"aud\":\"berth\",\"access\":[{\"type\":\"repository\"}]}",
        HEAD "\"epoch\":0,\"aud\":\"berth\",\"access\":[]}",
        HEAD "\"uid\":1,\"aud\":\"berth\",\"access\":[]}",
        HEAD "\"uid\":\"1\",\"epoch\":0,\"aud\":\"berth\",\"access\":[]}",
        "{\"iss\":\"berth\",\"sub\":\"alice\",\"nbf\":700,\"iat\":700," BODY
        "\"aud\":\"berth\",\"access\":[]}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (read_at(cases[i], 800) != ERR_UNAUTHORIZED)
            test_fail(__FILE__, __LINE__, "case %zu passed", i);
    arena_release(&arena);
}

static void drops_unknown_access(void)
{
    struct claims c = {0};
    CHECK_INT(
        claims_read(&arena,
                    STR(HEAD BODY "\"aud\":\"berth\",\"access\":["
                                  "{\"type\":\"moon\",\"name\":\"a/b\",\"actions\":[\"pull\"]},"
                                  "{\"type\":\"repository\",\"name\":\"a/b\","
                                  "\"actions\":[\"pull\",\"fly\",7]}]}"),
                    STR("berth"), 800, &c),
        OK);
    CHECK_INT(c.grant_n, 1);
    CHECK_INT(c.grants[0].actions, ACTION_PULL);
    arena_release(&arena);
}

/* As many of the longest grants as a token may carry fit into what is accepted. */
static void largest_token_fits(void)
{
    struct grant_list list = {0};
    for (int i = 0; i < GRANTS_MAX; i++) {
        char *name = arena_alloc(&arena, GRANT_NAME_MAX);
        memset(name, 'x', GRANT_NAME_MAX);
        name[0] = (char)('a' + i % 26);
        name[1] = (char)('a' + i / 26);
        name[2] = '/';
        str scope = arena_printf(&arena, "repository:%.*s:*", GRANT_NAME_MAX, name);
        scope_list_add(&arena, scope, &list);
    }
    CHECK_INT(list.n, GRANTS_MAX);
    struct claims in = {.service = STR("berth"),
                        .name = str_make(list.items[0].name.p, GRANT_NAME_MAX),
                        .user = INT64_MAX,
                        .epoch = INT64_MAX,
                        .issued_s = 1700000000,
                        .expires_s = 1700086400,
                        .grants = list.items,
                        .grant_n = list.n},
                  out;
    str json, token;
    CHECK_INT(claims_write(&in, &arena, &json), OK);
    CHECK_INT(claims_read(&arena, json, STR("berth"), 1700000000, &out), OK);
    CHECK_INT(out.grant_n, GRANTS_MAX);
    struct jws_key *key;
    CHECK_INT(jws_key_generate(&key), OK);
    CHECK_INT(jws_sign(key, json, &arena, &token), OK);
    CHECK(token.n <= JWS_BYTES_MAX);
    jws_key_free(key);
    arena_release(&arena);
}

static void copies_stand_alone(void)
{
    struct grant grants[2];
    CHECK(scope_parse(&arena, STR("repository:app:pull"), &grants[0]));
    CHECK(scope_parse(&arena, STR("registry:catalog:*"), &grants[1]));
    struct claims in = {.service = STR("berth"),
                        .name = arena_str(&arena, STR("alice")),
                        .user = 3,
                        .grants = grants,
                        .grant_n = 2};
    size_t n = claims_size(&in);
    struct claims *copy = calloc(1, n);
    claims_copy(copy, &in, n);
    memset(grants, 0xff, sizeof grants);
    arena_release(&arena);
    CHECK_STR(copy->service, "berth");
    CHECK_STR(copy->name, "alice");
    CHECK_STR(copy->grants[0].name, "library/app");
    CHECK_STR(copy->grants[0].asked, "app");
    CHECK_STR(copy->grants[1].type, "registry");
    CHECK_INT(copy->grants[1].actions, ACTION_CATALOG);
    free(copy);
}

TESTS({"round_trip", round_trip}, {"judges_time_with_leeway", judges_time_with_leeway},
      {"judges_audience_and_issuer", judges_audience_and_issuer},
      {"refuses_incomplete", refuses_incomplete}, {"drops_unknown_access", drops_unknown_access},
      {"largest_token_fits", largest_token_fits}, {"copies_stand_alone", copies_stand_alone});
