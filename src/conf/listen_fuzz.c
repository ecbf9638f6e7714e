#include "conf/listen.h"

#include "conf/address.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct listen_entry e;
    if (listen_entry_parse(str_make(data, n), &e))
        return 0;
    if (!e.address.p == !e.path.p || (e.address.p && !address_is_listen(e.address)) ||
        e.mode > 0777 || (e.path.p && e.path.p[0] != '/'))
        abort();
    return 0;
}
