#include "base/test.h"
#include "json/read.h"

#include <stdlib.h>

static enum err read_text(str text)
{
    ARENA_CLEANUP struct arena a = {0};
    JSON_CLEANUP json_t *tree = NULL;
    str why = {0};
    enum err e = json_read(&a, text, &tree, &why);
    CHECK((e == OK) == (tree != NULL));
    CHECK((e == OK) == (why.n == 0));
    return e;
}

static void accepts(void)
{
    CHECK_INT(read_text(STR("{\"a\": [1, true, null, \"x\"]}")), OK);
    CHECK_INT(read_text(STR(" \n{}\n ")), OK);
    CHECK_INT(read_text(STR("3")), OK);
}

static void refuses(void)
{
    CHECK_INT(read_text(STR("")), ERR_SYNTAX);
    CHECK_INT(read_text(STR("{} {}")), ERR_SYNTAX);
    CHECK_INT(read_text(STR("{\"a\":1,\"a\":2}")), ERR_SYNTAX);
    CHECK_INT(read_text(STR("{\"a\":\"\xff\"}")), ERR_SYNTAX);
    CHECK_INT(read_text(STR("{\"a\":\"\\u0000\"}")), ERR_SYNTAX);
    CHECK_INT(read_text(STR("{\"a\":\"unterminated")), ERR_SYNTAX);
    CHECK_INT(read_text(STR("\"\\")), ERR_SYNTAX);
}

static void bounds_depth(void)
{
    char text[130];
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    CHECK_INT(read_text(str_make(text, 130)), ERR_LIMIT);
    CHECK_INT(read_text(str_make(text + 1, 128)), OK);
    CHECK_INT(
        read_text(STR("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"")),
        OK);
}

static void bounds_values(void)
{
    size_t n = 2u * JSON_VALUES_MAX + 3;
    char *text = malloc(n);
    text[0] = '[';
    for (size_t i = 1; i < n - 1; i++)
        text[i] = i % 2 ? '1' : ',';
    text[n - 1] = ']';
    CHECK_INT(read_text(str_make(text, n)), ERR_LIMIT);
    free(text);
}

static void members(void)
{
    ARENA_CLEANUP struct arena a = {0};
    JSON_CLEANUP json_t *tree = NULL;
    str why, s = STR("kept");
    int64_t v = 7;
    CHECK_INT(json_read(&a, STR("{\"s\":\"text\",\"i\":-5,\"r\":1.5}"), &tree, &why), OK);
    CHECK(json_member_str(tree, "s", &s));
    CHECK_STR(s, "text");
    CHECK(!json_member_str(tree, "i", &s));
    CHECK_STR(s, "text");
    CHECK(json_member_int(tree, "i", &v));
    CHECK_INT(v, -5);
    CHECK(!json_member_int(tree, "r", &v));
    CHECK(!json_member_int(tree, "absent", &v));
    CHECK(json_member(tree, "absent") == NULL);
}

TESTS({"accepts", accepts}, {"refuses", refuses}, {"bounds depth", bounds_depth},
      {"bounds values", bounds_values}, {"members", members})
