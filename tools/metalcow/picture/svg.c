/* SVG: strings of a few element kinds.
 *
 * Invariant: what comes from an image passes print_text(), which lets only printable ASCII through
 * and makes it XML.
 */
#include "svg.h"

#include <inttypes.h>
#include <string.h>

#include "tools/metalcow/base/output.h"

#define CELL_WIDTH  ((SVG_WIDTH - 2 * SVG_MARGIN) / STRIP_CELLS)
#define LEAST_SHARE 2u
#define LAST_MARK   (SVG_WIDTH - SVG_MARGIN - 60) /* from here on there is no room to its right */

_Static_assert(CELL_WIDTH *STRIP_CELLS == SVG_WIDTH - 2 * SVG_MARGIN, "cells fill a strip");

static const char style[] =
    "svg{--page:#fff;--ink:#1d2530;--soft:#647080;--ground:#eceff3;--edge:#c8cfd8;"
    "--data:#2b6cb0;--packed:#8250b8;--zero:#58b5a4;--tables:#df7f1f;--covered:#bcc5d0}"
    "@media(prefers-color-scheme:dark){svg{--page:#14181d;--ink:#e6eaf0;--soft:#98a4b3;"
    "--ground:#232a33;--edge:#3a4552;--data:#4a90d9;--packed:#a878dd;--zero:#4fb3a0;"
    "--tables:#ef9440;--covered:#465362}}"
    ".page{fill:#fff;fill:var(--page)}"
    "text{font:13px system-ui,'Segoe UI','DejaVu Sans',sans-serif;fill:#1d2530;fill:var(--ink)}"
    ".title{font-size:21px;font-weight:600}.name{font-size:15px;font-weight:600}"
    ".soft{fill:#647080;fill:var(--soft)}.mark{font-size:11px;fill:#647080;fill:var(--soft)}"
    ".end{text-anchor:end}"
    ".edge{fill:none;stroke:#c8cfd8;stroke:var(--edge)}"
    ".p0{fill:#2b6cb0;fill:var(--data)}.p1{fill:#8250b8;fill:var(--packed)}"
    ".p2{fill:#58b5a4;fill:var(--zero)}.p3{fill:#df7f1f;fill:var(--tables)}"
    ".p4{fill:#bcc5d0;fill:var(--covered)}.p5{fill:#eceff3;fill:var(--ground)}"
    "path,rect{shape-rendering:crispEdges}";

static void print_text(FILE *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e || *c == '\\')
            fprintf(out, "\\x%02x", *c);
        else if (strchr("<>&\"'", *c))
            fprintf(out, "&#%u;", *c);
        else
            fputc(*c, out);
    }
}

void svg_begin(FILE *out, unsigned height, bool html, const char *title)
{
    if (html) {
        fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
              "<meta http-equiv=\"Content-Security-Policy\" "
              "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
              "<meta name=\"viewport\" content=\"width=device-width\">\n"
              "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
              out);
        print_text(out, title);
        fputs("</title>\n<style>body{margin:0 auto;max-width:1200px}"
              "svg{width:100%;height:auto}</style>\n",
              out);
    }
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" width=\"%u\" "
            "height=\"%u\">\n<title>",
            SVG_WIDTH, height, SVG_WIDTH, height);
    print_text(out, title);
    fprintf(out, "</title>\n<style>%s</style>\n<rect class=\"page\" width=\"%u\" height=\"%u\"/>\n",
            style, SVG_WIDTH, height);
}

void svg_end(FILE *out, bool html)
{
    fputs(html ? "</svg>\n</html>\n" : "</svg>\n", out);
}

void svg_text(FILE *out, unsigned x, unsigned y, const char *class, size_t max_length,
              const char *text)
{
    size_t length = strlen(text);

    fprintf(out, "<text class=\"%s\" x=\"%u\" y=\"%u\">", class, x, y);
    if (length > max_length) {
        fputs("\xe2\x80\xa6", out);
        text += length - max_length;
    }
    print_text(out, text);
    fputs("</text>\n", out);
}

/* The height of the paints 0..last of a cell together, in pixels. */
static unsigned stack_height(const struct strip *strip, uint32_t cell, unsigned last,
                             unsigned height)
{
    uint64_t size = strip_cell_begin(strip, cell + 1) - strip_cell_begin(strip, cell);
    unsigned sum = 0;

    for (unsigned paint = 0; paint <= last; paint++) {
        uint64_t bytes = strip->cells[cell][paint];
        unsigned share;

        if (bytes == 0)
            continue;
        share = (unsigned)((double)bytes / (double)size * height + 0.5);
        sum += share < LEAST_SHARE ? LEAST_SHARE : share;
    }
    return sum < height ? sum : height;
}

/* The outline of the paints 0..last; a lower one is drawn over it afterwards. */
static void draw_stack(FILE *out, unsigned y, unsigned height, const struct strip *strip,
                       unsigned last)
{
    unsigned level = 0, bottom = y + height;

    fprintf(out, "<path class=\"p%u\" d=\"M%u %u", last, SVG_MARGIN, bottom);
    for (uint32_t cell = 0; cell < STRIP_CELLS; cell++) {
        unsigned next = stack_height(strip, cell, last, height);

        if (next != level)
            fprintf(out, "H%uV%u", SVG_MARGIN + cell * CELL_WIDTH, bottom - next);
        level = next;
    }
    fprintf(out, "H%uV%uz\"/>\n", SVG_WIDTH - SVG_MARGIN, bottom);
}

void svg_strip(FILE *out, unsigned y, unsigned height, const struct strip *strip)
{
    fprintf(out, "<path class=\"p%u\" d=\"M%u %uh%uv%uh-%uz\"/>\n", NB_PAINTS, SVG_MARGIN, y,
            SVG_WIDTH - 2 * SVG_MARGIN, height, SVG_WIDTH - 2 * SVG_MARGIN);
    for (unsigned paint = NB_PAINTS; paint-- > 0;) {
        if (strip->totals[paint] > 0)
            draw_stack(out, y, height, strip, paint);
    }
}

/* The power of two that marks 4 to 8 places in length bytes. */
static uint64_t mark_step(uint64_t length)
{
    uint64_t step = 1;

    while (length / step >= 8)
        step *= 2;
    return step;
}

void svg_axis(FILE *out, unsigned y, const struct strip *strip)
{
    uint64_t step = mark_step(strip->length);
    uint64_t skip = (step - strip->begin % step) % step;

    for (uint64_t at = skip; at < strip->length; at += step) {
        double share = (double)at / (double)strip->length;
        unsigned x = SVG_MARGIN + (unsigned)(share * (SVG_WIDTH - 2 * SVG_MARGIN));
        char text[16];

        format_size(strip->begin + at, text, sizeof(text));
        fprintf(out, "<path class=\"edge\" d=\"M%u.5 %uv4\"/>\n", x, y);
        svg_text(out, x, y + 15, x > LAST_MARK ? "mark end" : "mark", sizeof(text), text);
        if (strip->length - at <= step)
            return;
    }
}

void svg_square(FILE *out, unsigned x, unsigned y, unsigned paint)
{
    fprintf(out, "<rect class=\"p%u\" x=\"%u\" y=\"%u\" width=\"12\" height=\"12\"/>\n", paint, x,
            y);
}
