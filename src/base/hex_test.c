#include "base/hex.h"
#include "base/test.h"

static void hexadecimal(void)
{
    char text[4];
    uint8_t bytes[2];
    hex_encode(text, "\x0f\xa0", 2);
    CHECK_STR(str_make(text, 4), "0fa0");
    CHECK(hex_decode(STR("0fA0"), false, bytes, 2));
    CHECK_INT(bytes[1], 0xa0);
    CHECK(!hex_decode(STR("0fA0"), true, bytes, 2));
    CHECK(!hex_decode(STR("0fg0"), false, bytes, 2));
    CHECK(!hex_decode(STR("0fa"), false, bytes, 2));
}

/* RFC 4648 section 10. */
static void base64(void)
{
    static const struct {
        const char *plain, *text;
    } rows[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"}};
    ARENA_CLEANUP struct arena a = {0};
    str out = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_STR(base64_encode(&a, str_from(rows[i].plain)), rows[i].text);
        CHECK(base64_decode(&a, str_from(rows[i].text), &out));
        CHECK_STR(out, rows[i].plain);
        CHECK(base64url_decode(&a, base64url_encode(&a, str_from(rows[i].plain)), &out));
        CHECK_STR(out, rows[i].plain);
    }
    CHECK(!base64_decode(&a, STR("Zg"), &out));
    CHECK(!base64_decode(&a, STR("Zh=="), &out));
    CHECK(!base64_decode(&a, STR("Zg=a"), &out));
    CHECK(!base64_decode(&a, STR("===="), &out));
    CHECK(!base64_decode(&a, STR("Zm9v\n"), &out));
    CHECK(!base64url_decode(&a, STR("Zg=="), &out));
    CHECK(!base64url_decode(&a, STR("+w"), &out));
    CHECK(base64url_decode(&a, STR("-w"), &out));
}

static void uuids(void)
{
    uint8_t id[16], back[16];
    char text[UUID_LEN];
    uuid_new(id);
    str s = uuid_format(id, text);
    CHECK_INT(s.n, 36);
    CHECK(s.p[14] == '4');
    CHECK(uuid_parse(s, back));
    CHECK(memcmp(id, back, 16) == 0);
    CHECK(!uuid_parse(STR("00000000-0000-0000-0000-00000000000"), back));
    CHECK(!uuid_parse(STR("00000000-0000-0000-0000-00000000000G"), back));
    CHECK(!uuid_parse(STR("00000000-0000-0000-0000-00000000000A"), back));
    CHECK(!uuid_parse(STR("000000000-000-0000-0000-000000000000"), back));
}

TESTS({"hexadecimal", hexadecimal}, {"base64", base64}, {"uuids", uuids})
