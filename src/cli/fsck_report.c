#include "cli/fsck_report.h"

#include "json/write.h"

/* Names on disk can hold anything; a terminal gets no control bytes. */
static void print_clean(FILE *out, str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        putc(c == '\n' ? ' ' : c < 0x20 || c == 0x7f ? '?' : c, out);
    }
}

static const char *severity_word(const struct finding *f)
{
    return finding_severity(f->kind) == FINDING_ERROR ? "error" : "note";
}

static void print_line(struct fsck_report *r, const struct finding *f)
{
    fprintf(r->out, "%s %s: ", severity_word(f), finding_word(f->kind));
    print_clean(r->out, f->where);
    if (f->detail.n) {
        fputs(" (", r->out);
        print_clean(r->out, f->detail);
        putc(')', r->out);
    }
    fprintf(r->out, ": %s", finding_meaning(f->kind));
    const char *repair = finding_repair(f->kind);
    if (f->outcome == FINDING_REPAIRED)
        fputs(". Repaired.\n", r->out);
    else if (f->outcome == FINDING_CONTAINED)
        fprintf(r->out, ". Done: --repair %s.\n", repair);
    else if (*repair && !r->repair)
        fprintf(r->out, ". --repair %s.\n", repair);
    else
        fputs(".\n", r->out);
}

static const char *const outcomes[] = {
    [FINDING_LEFT] = "left",
    [FINDING_CONTAINED] = "contained",
    [FINDING_REPAIRED] = "repaired",
};

static void print_json(struct fsck_report *r, const struct finding *f)
{
    BUF_CLEANUP struct buf line = BUF_INIT(1 << 20);
    struct json_writer w = {.out = &line};
    jw_object(&w);
    jw_field(&w, "severity", str_from(severity_word(f)));
    jw_field(&w, "finding", str_from(finding_word(f->kind)));
    jw_field(&w, "where", f->where);
    jw_field(&w, "detail", f->detail);
    jw_field(&w, "meaning", str_from(finding_meaning(f->kind)));
    jw_field(&w, "repair", str_from(finding_repair(f->kind)));
    jw_field(&w, "outcome", str_from(outcomes[f->outcome]));
    jw_end(&w);
    fprintf(r->out, "%s\n%.*s", r->printed ? "," : "", STR_ARG(buf_str(&line)));
}

void fsck_report_begin(struct fsck_report *r)
{
    if (r->json)
        fputs("{\"findings\":[", r->out);
}

void fsck_report_finding(struct fsck_report *r, const struct finding *f)
{
    if (r->json)
        print_json(r, f);
    else
        print_line(r, f);
    r->printed++;
}

struct number {
    const char *key, *one, *many;
    uint64_t n;
};

static void end_json(struct fsck_report *r, const struct number *numbers, size_t n, bool complete)
{
    fprintf(r->out, "],\n\"complete\":%s", complete ? "true" : "false");
    for (size_t i = 0; i < n; i++)
        fprintf(r->out, ",\n\"%s\":%llu", numbers[i].key, (unsigned long long)numbers[i].n);
    fputs("}\n", r->out);
}

void fsck_report_end(struct fsck_report *r, const struct check *c, bool complete)
{
    const struct number numbers[] = {
        {"blobs", "blob", "blobs", c->blobs},
        {"blob_bytes", "byte", "bytes", c->blob_bytes},
        {"manifests", "manifest", "manifests", c->manifests},
        {"tags", "tag", "tags", c->tags},
        {"repositories", "repository", "repositories", c->repositories},
        {"uploads", "upload", "uploads", c->uploads},
        {"errors", "error", "errors", c->errors},
        {"notes", "note", "notes", c->notes},
        {"repaired", "repaired", "repaired", c->repaired},
    };
    size_t n = sizeof numbers / sizeof *numbers;
    if (r->json) {
        end_json(r, numbers, n, complete);
        return;
    }
    uint64_t seen = 0;
    for (size_t i = 0; i < n; i++)
        seen += numbers[i].n;
    if (!complete && !seen) /* it could not begin; why was said already */
        return;
    for (size_t i = 0; i < n; i++)
        fprintf(r->out, "%s%llu %s", i ? ", " : "", (unsigned long long)numbers[i].n,
                numbers[i].n == 1 ? numbers[i].one : numbers[i].many);
    fprintf(r->out, ": %s\n",
            !complete   ? "not checked to the end"
            : c->errors ? "not clean"
                        : "clean");
}
