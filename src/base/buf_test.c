#include "base/buf.h"
#include "base/test.h"

static void grows(void)
{
    BUF_CLEANUP struct buf b = BUF_INIT(10000);
    for (int i = 0; i < 1000; i++)
        CHECK(buf_add(&b, STR("0123456789")));
    CHECK_INT(b.n, 10000);
    CHECK(!buf_byte(&b, 'x'));
    CHECK(b.full);
    CHECK_INT(b.n, 10000);
}

static void overflow_is_sticky(void)
{
    BUF_CLEANUP struct buf b = BUF_INIT(4);
    CHECK(!buf_add(&b, STR("12345")));
    CHECK(!buf_byte(&b, '1'));
    CHECK_INT(b.n, 0);
    buf_clear(&b);
    CHECK(buf_add(&b, STR("1234")));
}

static void formats(void)
{
    BUF_CLEANUP struct buf b = BUF_INIT(100);
    CHECK(buf_printf(&b, "%d/%s", 12, "ab"));
    CHECK(buf_u64(&b, UINT64_MAX));
    CHECK(buf_u64(&b, 0));
    CHECK_STR(buf_str(&b), "12/ab184467440737095516150");
}

TESTS({"grows", grows}, {"overflow is sticky", overflow_is_sticky}, {"formats", formats})
