/* The exposition: OpenMetrics 1.0.0 and the Prometheus text format 0.0.4, which differ in little.
 */
#include "base/metrics_private.h"

#include <stdio.h>

enum { CELLS_OF_ONE_MAX = 64 };

static const char *const kind_names[] = {
    [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
static const char *const unit_names[] = {
    [METRIC_NONE] = "", [METRIC_BYTES] = "bytes", [METRIC_SECONDS] = "seconds"};

const char *metrics_content_type(enum metrics_format format)
{
    return format == METRICS_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

/* Quotes are escaped in values of labels, and by OpenMetrics in help, too. */
static void escaped(struct buf *out, str s, bool quotes)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\n')
            buf_add(out, STR("\\n"));
        else if (c == '\\' || (c == '"' && quotes))
            buf_printf(out, "\\%c", c);
        else
            buf_byte(out, c);
    }
}

void metric_label(struct buf *out, const char *name, str value)
{
    buf_printf(out, "%s%s=\"", out->n ? "," : "", name);
    escaped(out, value, true);
    buf_byte(out, '"');
}

/* Microseconds as seconds without trailing zeroes, other values as they are. */
static void number(struct buf *out, enum metric_unit unit, int64_t value)
{
    if (unit != METRIC_SECONDS) {
        buf_printf(out, "%lld", (long long)value);
        return;
    }
    uint64_t us = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char digits[8];
    snprintf(digits, sizeof digits, ".%06u", (unsigned)(us % 1000000));
    size_t n = 7;
    while (n > 0 && digits[n - 1] == '0')
        n--;
    if (n == 1) /* only the point is left */
        n = 0;
    buf_printf(out, "%s%llu%.*s", value < 0 ? "-" : "", (unsigned long long)(us / 1000000), (int)n,
               digits);
}

static void head(struct buf *out, const struct metric_row *row, enum metrics_format format)
{
    str name = str_from(row->name);
    bool open = format == METRICS_OPENMETRICS;
    if (open && row->kind == METRIC_COUNTER) /* the family's name is without it */
        name.n -= sizeof "_total" - 1;
    buf_printf(out, "# TYPE %.*s %s\n", STR_ARG(name), kind_names[row->kind]);
    if (open && row->unit != METRIC_NONE)
        buf_printf(out, "# UNIT %.*s %s\n", STR_ARG(name), unit_names[row->unit]);
    buf_printf(out, "# HELP %.*s ", STR_ARG(name));
    escaped(out, str_from(row->help), open);
    buf_byte(out, '\n');
}

/* name + suffix {labels, le="..."} */
static void series(struct buf *out, const struct metric_row *row, const char *suffix, str labels)
{
    buf_printf(out, "%s%s", row->name, suffix);
    if (labels.n)
        buf_printf(out, "{%.*s}", STR_ARG(labels));
    buf_byte(out, ' ');
}

/* Bounds are labels, and always have a point: "1.0" (OpenMetrics, "Canonical Numbers"). */
static void bound(struct buf *out, enum metric_unit unit, uint64_t value)
{
    size_t before = out->n;
    number(out, unit, (int64_t)value);
    str text = str_skip(buf_str(out), before);
    if (str_find(text, '.') == text.n)
        buf_add(out, STR(".0"));
}

static void histogram(struct buf *out, const struct metric_row *row, str labels,
                      const uint64_t *cells)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i <= row->bounds_n; i++) {
        seen += cells[i];
        buf_printf(out, "%s_bucket{%.*s%sle=\"", row->name, STR_ARG(labels), labels.n ? "," : "");
        if (i < row->bounds_n)
            bound(out, row->unit, row->bounds[i]);
        else
            buf_add(out, STR("+Inf"));
        buf_printf(out, "\"} %llu\n", (unsigned long long)seen);
    }
    series(out, row, "_count", labels);
    buf_printf(out, "%llu\n", (unsigned long long)seen);
    series(out, row, "_sum", labels);
    number(out, row->unit, (int64_t)cells[row->bounds_n + 1]);
    buf_byte(out, '\n');
}

static bool any(const uint64_t *cells, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (cells[i])
            return true;
    return false;
}

static void sample(struct buf *out, const struct metric_row *row, str labels, const uint64_t *cells)
{
    if (row->kind == METRIC_HISTOGRAM) {
        histogram(out, row, labels, cells);
        return;
    }
    series(out, row, "", labels);
    number(out, row->unit, (int64_t)cells[0]);
    buf_byte(out, '\n');
}

/* Text of one label; the memory is the arena's, or forever. */
static str label_text(enum metric_set set, unsigned label, struct buf *memory)
{
    const struct metric_set_row *written = &metric_sets[set];
    const struct metric_labels *routes = &metric_labels[METRIC_SET_ROUTE];
    if (set != METRIC_SET_ROUTE_CODE && !written->values)
        return set == METRIC_SET_NONE ? (str){0} : metric_labels[set].texts[label];
    buf_clear(memory);
    if (written->values) {
        metric_label(memory, written->label, str_from(written->values[label].value));
    } else {
        buf_add(memory, routes->texts[label / METRIC_CODE_COUNT]);
        metric_label(memory, "code", metric_code_text(label % METRIC_CODE_COUNT));
    }
    return buf_str(memory);
}

static unsigned labels_n(enum metric_set set)
{
    if (set == METRIC_SET_NONE)
        return 1;
    if (set == METRIC_SET_ROUTE_CODE)
        return (unsigned)metric_labels[METRIC_SET_ROUTE].n * METRIC_CODE_COUNT;
    return (unsigned)(metric_sets[set].values ? metric_sets[set].n : metric_labels[set].n);
}

void metrics_write(struct buf *out, enum metrics_format format)
{
    BUF_CLEANUP struct buf memory = BUF_INIT(4096);
    uint64_t cells[CELLS_OF_ONE_MAX];
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        const struct metric_row *row = &metric_rows[m];
        bool sparse = row->set == METRIC_SET_ROUTE || row->set == METRIC_SET_ROUTE_CODE;
        unsigned n = labels_n(row->set);
        if (n > 0)
            head(out, row, format);
        for (unsigned label = 0; label < n; label++) {
            metric_cells(row->first + label * row->cells_n, row->cells_n, cells);
            if (!sparse || any(cells, row->cells_n))
                sample(out, row, label_text(row->set, label, &memory), cells);
        }
    }
    if (format == METRICS_OPENMETRICS)
        buf_add(out, STR("# EOF\n"));
}

/* Documentation. */

static const char *labels_of(enum metric_set set)
{
    switch (set) {
    case METRIC_SET_NONE:
        return "";
    case METRIC_SET_ROUTE:
        return "`method`, `route`";
    case METRIC_SET_ROUTE_CODE:
        return "`method`, `route`, `code`";
    case METRIC_SET_REACTOR:
        return "`reactor`";
    case METRIC_SET_BUILD:
        return "`version`, `schema`";
#define X(set, tag, label) \
    case METRIC_SET_##set: \
        return "`" label "`";
        METRIC_LABEL_SETS(X)
#undef X
    case METRIC_SET_COUNT:
        break;
    }
    return "";
}

void metrics_reference(struct buf *out)
{
    buf_add(out, STR("## All of them\n\n| name | type | unit | labels | what it tells |\n"
                     "| --- | --- | --- | --- | --- |\n"));
    for (unsigned m = 0; m < METRIC_COUNT; m++) {
        const struct metric_row *row = &metric_rows[m];
        buf_printf(out, "| `%s` | %s | %s | %s | %s |\n", row->name, kind_names[row->kind],
                   unit_names[row->unit], labels_of(row->set), row->help);
    }
    buf_add(out, STR("\n## Labels\n\n"));
    for (unsigned s = 0; s < METRIC_SET_COUNT; s++) {
        const struct metric_set_row *set = &metric_sets[s];
        if (!set->values)
            continue;
        buf_printf(out, "`%s` of", set->label);
        const char *gap = " ";
        for (unsigned m = 0; m < METRIC_COUNT; m++) {
            if (metric_rows[m].set != s)
                continue;
            buf_printf(out, "%s`%s`", gap, metric_rows[m].name);
            gap = ", ";
        }
        buf_add(out, STR(":\n\n| value | means |\n| --- | --- |\n"));
        for (size_t i = 0; i < set->n; i++)
            buf_printf(out, "| `%s` | %s |\n", set->values[i].value, set->values[i].help);
        buf_byte(out, '\n');
    }
}
