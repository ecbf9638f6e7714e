#include "conf/yaml_read.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    ARENA_CLEANUP struct arena a = {0};
    struct yaml yaml;
    unsigned line = 0;
    str why = {0};
    if (yaml_read(&a, str_make(data, n), &yaml, &line, &why)) {
        if (why.n == 0)
            abort();
        return 0;
    }
    for (size_t i = 0; i < yaml.n; i++)
        if (yaml.entries[i].path.n == 0 || yaml.entries[i].line == 0 ||
            yaml.entries[i].n > YAML_VALUES_MAX)
            abort();
    return 0;
}
