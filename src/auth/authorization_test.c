#include "auth/authorization.h"
#include "auth/jws.h"
#include "base/hex.h"
#include "base/test.h"

static struct arena arena;

static struct authorization good(str value)
{
    struct authorization got = {0};
    CHECK_INT(authorization_parse(&arena, value, &got), OK);
    return got;
}

static void refuses(str value)
{
    struct authorization got;
    CHECK_INT(authorization_parse(&arena, value, &got), ERR_UNAUTHORIZED);
}

static void reads_basic(void)
{
    struct authorization got = good(STR("Basic YWxpY2U6c2VjcmV0")); /* alice:secret */
    CHECK_INT(got.scheme, AUTHORIZATION_BASIC);
    CHECK_STR(got.user, "alice");
    CHECK_STR(got.password, "secret");
    got = good(STR("bAsIc  YWxpY2U6YTpiOg==")); /* alice:a:b: */
    CHECK_STR(got.user, "alice");
    CHECK_STR(got.password, "a:b:");
    got = good(STR("Basic asOkOtC/")); /* UTF-8 stays as it is */
    CHECK_STR(got.user, "j\xc3\xa4");
    CHECK_STR(got.password, "\xd0\xbf");
    got = good(STR("Basic YWxpY2U6")); /* alice: */
    CHECK_INT(got.scheme, AUTHORIZATION_BASIC);
    CHECK_INT(got.password.n, 0);
    got = good(STR("Basic OnNlY3JldA==")); /* :secret is someone, not nobody */
    CHECK_INT(got.scheme, AUTHORIZATION_BASIC);
    arena_release(&arena);
}

static void nobody_is_anonymous(void)
{
    CHECK_INT(good((str){0}).scheme, AUTHORIZATION_NONE);
    CHECK_INT(good(STR("Basic Og==")).scheme, AUTHORIZATION_NONE);
    arena_release(&arena);
}

static void reads_bearer(void)
{
    struct authorization got = good(STR("bearer a.b.c"));
    CHECK_INT(got.scheme, AUTHORIZATION_BEARER);
    CHECK_STR(got.token, "a.b.c");
    arena_release(&arena);
}

static void refuses_the_rest(void)
{
    refuses(STR(""));
    refuses(STR("Basic"));
    refuses(STR("Basic "));
    refuses(STR("Bearer"));
    refuses(STR("Bearer "));
    refuses(STR("Digest username=\"alice\""));
    refuses(STR("Basic YWxpY2U="));          /* no colon */
    refuses(STR("Basic YWxpY2U6c2VjcmV0=")); /* padding that does not belong */
    refuses(STR("Basic YWxpY2U6c2Vj cmV0"));
    refuses(STR("Basic %%%%"));
    arena_release(&arena);
}

static void refuses_oversize(void)
{
    char *big = arena_alloc(&arena, JWS_BYTES_MAX + 32);
    memset(big, 'Q', JWS_BYTES_MAX + 32);
    memcpy(big, "Basic OlFR", 10); /* ":QQ..." */
    CHECK_INT(good(str_make(big, 6 + BASIC_BYTES_MAX)).scheme, AUTHORIZATION_BASIC);
    refuses(str_make(big, 6 + BASIC_BYTES_MAX + 4));
    memcpy(big, "Bearer QQQ", 10);
    CHECK_INT(good(str_make(big, 7 + JWS_BYTES_MAX)).token.n, JWS_BYTES_MAX);
    refuses(str_make(big, 7 + JWS_BYTES_MAX + 1));
    arena_release(&arena);
}

TESTS({"reads_basic", reads_basic}, {"nobody_is_anonymous", nobody_is_anonymous},
      {"reads_bearer", reads_bearer}, {"refuses_the_rest", refuses_the_rest},
      {"refuses_oversize", refuses_oversize});
