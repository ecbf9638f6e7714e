#include "base/test.h"
#include "registry/name.h"

static bool name_ok(const char *text)
{
    ARENA_CLEANUP struct arena a = {0};
    struct name name;
    struct error why = {0};
    enum err e = name_parse(&a, str_from(text), &name, &why);
    CHECK(e == OK || (e == ERR_NAME_INVALID && why.message.n));
    return e == OK;
}

static void names(void)
{
    static const char *const good[] = {
        "a", "a/b", "library/app", "a.b_c__d---e/0", "blobs/uploads", "a/manifests/b", "tags/list"};
    static const char *const bad[] = {"",    "A",   "a/",   "/a",   "a//b", "a..b", "a___b", "-a",
                                      "a-",  "_a",  "a_",   ".a",   "a.",   "a.-b", "a b",   "a/B",
                                      "a:b", "a@b", "../a", "a/..", "a%b",  "ä",    "a/_b"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        CHECK(name_ok(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(!name_ok(bad[i]));
    char longest[NAME_LENGTH_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[1] = '/';
    longest[NAME_LENGTH_MAX] = 0;
    CHECK(name_ok(longest));
    longest[NAME_LENGTH_MAX] = 'a';
    longest[NAME_LENGTH_MAX + 1] = 0;
    CHECK(!name_ok(longest));
    longest[1] = 'a'; /* counts with library/ */
    longest[NAME_LENGTH_MAX - 8] = 0;
    CHECK(name_ok(longest));
    longest[NAME_LENGTH_MAX - 8] = 'a';
    longest[NAME_LENGTH_MAX - 7] = 0;
    CHECK(!name_ok(longest));
}

static void library_alias(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct name name;
    struct error why = {0};
    CHECK_INT(name_parse(&a, STR("app"), &name, &why), OK);
    CHECK_STR(name.asked, "app");
    CHECK_STR(name.full, "library/app");
    CHECK_STR(name.project, "library");
    CHECK_INT(name_parse(&a, STR("team/x/y"), &name, &why), OK);
    CHECK_STR(name.full, "team/x/y");
    CHECK_STR(name.project, "team");
}

static void patterns(void)
{
    CHECK(name_matches(STR("team/app"), STR("team/app")));
    CHECK(!name_matches(STR("team/app2"), STR("team/app")));
    CHECK(name_matches(STR("team/app/x"), STR("team/*")));
    CHECK(!name_matches(STR("teams/app"), STR("team/*")));
    CHECK(!name_matches(STR("team"), STR("team/*")));
    CHECK(name_matches(STR("any/thing"), STR("*")));
}

static void references(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct reference r;
    struct error why = {0};
    CHECK_INT(reference_parse(&a, STR("v1.0_x-Y"), &r, &why), OK);
    CHECK(!r.is_digest);
    CHECK_STR(r.tag, "v1.0_x-Y");
    CHECK_INT(reference_parse(&a,
                              STR("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7"
                                  "852b855"),
                              &r, &why),
              OK);
    CHECK(r.is_digest);
    CHECK_INT(reference_parse(&a,
                              STR("sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7"
                                  "852b855.sig"),
                              &r, &why),
              OK);
    CHECK(!r.is_digest);
    CHECK_INT(reference_parse(&a, STR(".a"), &r, &why), ERR_TAG_INVALID);
    why = (struct error){0};
    CHECK_INT(reference_parse(&a, STR("sha256:baddigeststring"), &r, &why), ERR_DIGEST_INVALID);
    why = (struct error){0};
    CHECK_INT(reference_parse(&a, STR("blake3:00"), &r, &why), ERR_DIGEST_INVALID);
}

TESTS({"names", names}, {"library alias", library_alias}, {"patterns", patterns},
      {"references", references})
