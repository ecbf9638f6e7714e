#include "base/test.h"
#include "blob/digest.h"

#define ABC256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC512                                                         \
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" \
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
#define EMPTY256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static enum err parse(const char *text, bool other)
{
    struct digest d;
    return digest_parse(str_from(text), other, &d);
}

static void known_vectors(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct digest d;
    digest_of(DIGEST_sha256, STR("abc"), &d);
    CHECK_STR(digest_text(&a, &d), "sha256:" ABC256);
    CHECK_INT(d.n, 33);
    CHECK_INT(d.stored[0], 1);
    digest_of(DIGEST_sha512, STR("abc"), &d);
    CHECK_STR(digest_text(&a, &d), "sha512:" ABC512);
    CHECK_INT(d.n, 65);
    CHECK_INT(d.stored[0], 2);
    digest_of(DIGEST_sha256, (str){0}, &d);
    CHECK_STR(digest_text(&a, &d), "sha256:" EMPTY256);
}

static void runs_and_peeks(void)
{
    ARENA_CLEANUP struct arena a = {0};
    HASHER_CLEANUP struct hasher *h = hasher_new(DIGEST_sha256);
    struct digest d;
    CHECK_INT(hasher_algorithm(h), DIGEST_sha256);
    hasher_peek(h, &d);
    CHECK_STR(digest_text(&a, &d), "sha256:" EMPTY256);
    hasher_update(h, "ab", 2);
    hasher_peek(h, &d);
    hasher_update(h, "c", 1);
    hasher_peek(h, &d);
    CHECK_STR(digest_text(&a, &d), "sha256:" ABC256);
    hasher_free(NULL);
}

static void parses_known(void)
{
    struct digest d, same;
    CHECK_INT(digest_parse(STR("sha256:" ABC256), false, &d), OK);
    CHECK_INT(digest_algorithm(&d), DIGEST_sha256);
    digest_of(DIGEST_sha256, STR("abc"), &same);
    CHECK(digest_eq(&d, &same));
    CHECK_INT(digest_parse(STR("sha512:" ABC512), false, &same), OK);
    CHECK(!digest_eq(&d, &same));
    CHECK(digest_from_stored(digest_stored(&d), &same));
    CHECK(digest_eq(&d, &same));
}

static void refuses(void)
{
    /* Also where other algorithms are allowed: a known one is held to its own form. */
    for (int other = 0; other <= 1; other++) {
        CHECK_INT(parse("", other), ERR_DIGEST_INVALID);
        CHECK_INT(parse(":", other), ERR_DIGEST_INVALID);
        CHECK_INT(parse("sha256", other), ERR_DIGEST_INVALID);
        CHECK_INT(parse("sha256:", other), ERR_DIGEST_INVALID);
        CHECK_INT(parse("sha256:baddigeststring", other), ERR_DIGEST_INVALID);
        CHECK_INT(parse("sha256:" ABC256 "0", other), ERR_DIGEST_INVALID);
        CHECK_INT(parse("sha512:" ABC256, other), ERR_DIGEST_INVALID);
        CHECK_INT(
            parse("sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", other),
            ERR_DIGEST_INVALID);
        CHECK_INT(parse("SHA256:" ABC256, other), ERR_DIGEST_INVALID);
        CHECK_INT(parse(" sha256:" ABC256, other), ERR_DIGEST_INVALID);
    }
}

static void parses_other(void)
{
    CHECK_INT(parse("blake3:abc", false), ERR_DIGEST_INVALID);
    CHECK_INT(parse("blake3:abc", true), OK);
    CHECK_INT(parse("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", true), OK);
    CHECK_INT(parse("sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564=", true), OK);
    CHECK_INT(parse("a..b:x", true), ERR_DIGEST_INVALID);
    CHECK_INT(parse("+a:x", true), ERR_DIGEST_INVALID);
    CHECK_INT(parse("a+:x", true), ERR_DIGEST_INVALID);
    CHECK_INT(parse("a:x/y", true), ERR_DIGEST_INVALID);
    CHECK_INT(parse("a:x:y", true), ERR_DIGEST_INVALID);
    CHECK_INT(parse("a:", true), ERR_DIGEST_INVALID);

    ARENA_CLEANUP struct arena a = {0};
    struct digest d, same;
    CHECK_INT(digest_parse(STR("blake3:AbC"), true, &d), OK);
    CHECK_INT(digest_algorithm(&d), DIGEST_OTHER);
    CHECK_STR(digest_text(&a, &d), "blake3:AbC");
    CHECK(digest_from_stored(digest_stored(&d), &same));
    CHECK(digest_eq(&d, &same));
}

static void bounds_other(void)
{
    char text[DIGEST_STORED_MAX];
    struct digest d;
    memset(text, 'x', sizeof text);
    text[1] = ':';
    CHECK_INT(digest_parse(str_make(text, DIGEST_STORED_MAX - 1), true, &d), OK);
    CHECK_INT(d.n, DIGEST_STORED_MAX);
    CHECK_INT(digest_parse(str_make(text, DIGEST_STORED_MAX), true, &d), ERR_DIGEST_INVALID);
}

static void checks_stored(void)
{
    struct digest d;
    char hash[66] = {1};
    CHECK(digest_from_stored(str_make(hash, 33), &d));
    CHECK(!digest_from_stored(str_make(hash, 32), &d));
    CHECK(!digest_from_stored(str_make(hash, 34), &d));
    hash[0] = 2;
    CHECK(digest_from_stored(str_make(hash, 65), &d));
    CHECK(!digest_from_stored(str_make(hash, 33), &d));
    hash[0] = 3;
    CHECK(!digest_from_stored(str_make(hash, 33), &d));
    CHECK(!digest_from_stored((str){0}, &d));
    CHECK(!digest_from_stored(STR("\0nonsense"), &d));
    /* Would be a second stored form of a digest that has one. */
    CHECK(!digest_from_stored(STR("\0sha256:" ABC256), &d));
}

static void names_algorithms(void)
{
    CHECK_INT(digest_algorithm_parse(STR("sha256")), DIGEST_sha256);
    CHECK_INT(digest_algorithm_parse(STR("sha512")), DIGEST_sha512);
    CHECK_INT(digest_algorithm_parse(STR("md5")), DIGEST_OTHER);
    CHECK_INT(digest_algorithm_parse(STR("")), DIGEST_OTHER);
    CHECK_STR(digest_algorithm_name(DIGEST_sha512), "sha512");
}

TESTS({"known vectors", known_vectors}, {"runs and peeks", runs_and_peeks},
      {"parses known", parses_known}, {"refuses", refuses}, {"parses other", parses_other},
      {"bounds other", bounds_other}, {"checks stored", checks_stored},
      {"names algorithms", names_algorithms})
