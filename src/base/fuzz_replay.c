/* Replays a fuzz target's corpus in the normal test run: every file in the directories given as
 * arguments, each cut to every power-of-two prefix as well. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { INPUT_MAX = 1 << 20 };

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    uint8_t *bytes = malloc(INPUT_MAX);
    size_t n = bytes ? fread(bytes, 1, INPUT_MAX, f) : 0;
    fclose(f);
    for (size_t part = 1; part < n; part *= 2) {
        /* An exact allocation lets the address sanitizer see reads past the end. */
        uint8_t *exact = malloc(part);
        if (!exact)
            abort();
        for (size_t i = 0; i < part; i++)
            exact[i] = bytes[i];
        LLVMFuzzerTestOneInput(exact, part);
        free(exact);
    }
    LLVMFuzzerTestOneInput(bytes, n);
    free(bytes);
    return 0;
}

int main(int argc, char **argv)
{
    int files = 0, failures = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (!d) {
            perror(argv[i]);
            return 99;
        }
        for (struct dirent *e; (e = readdir(d));) {
            char path[4096];
            struct stat st;
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
                failures += replay(path);
                files++;
            }
        }
        closedir(d);
    }
    printf("%s 1 - %d files\n1..1\n", failures || !files ? "not ok" : "ok", files);
    return failures || !files;
}
