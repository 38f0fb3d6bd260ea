/* The template language: what each construct writes, and how each mistake is reported. */
#include "check.h"
#include "gen.h"

#include <sys/stat.h>
#include <unistd.h>

static mj_files *files;

static const mj_template_var usual[] = {
    {"symbol", "kernel", true}, {"tile", "16", true},  {"zero", "0", true},   {"kind", "silu", true},
    {"three", "3", true},       {"size_0", "1", true}, {"size_1", "2", true},
};
enum { USUAL_COUNT = sizeof usual / sizeof usual[0] };

static mj_status expand(const char *text, mj_strbuf *out, mj_error *error)
{
    return mj_expand_text(files, "t.tmpl", text, strlen(text), usual, USUAL_COUNT, out, error);
}

TEST(what_each_construct_writes)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"a\nb", "#line 1 \"t.tmpl\"\na\nb\n"},
        {"@{symbol}(@{tile}) a@b @ @\n", "#line 1 \"t.tmpl\"\nkernel(16) a@b @ @\n"},
        {"a\r\nb\r\n", "#line 1 \"t.tmpl\"\na\nb\n"},
        {"@// gone @{nowhere}\nx\n", "#line 2 \"t.tmpl\"\nx\n"},
        {"@if tile\nyes\n@else\nno\n@end\n", "#line 2 \"t.tmpl\"\nyes\n"},
        {"@if zero\nyes\n@else\nno\n@end\nx\n", "#line 4 \"t.tmpl\"\nno\n#line 6 \"t.tmpl\"\nx\n"},
        {"@if kind == silu\nyes\n@end\n@if kind != silu\nno\n@end\n", "#line 2 \"t.tmpl\"\nyes\n"},
        {"  @if kind == gelu\nno\n  @end\n\tx\n", "#line 4 \"t.tmpl\"\n\tx\n"},
        {"@if tile\n@if zero\na\n@else\nb\n@end\nc\n@end\n", "#line 5 \"t.tmpl\"\nb\n#line 7 \"t.tmpl\"\nc\n"},
        {"@repeat i 2\nr@{i}\n@end\nx\n", "#line 2 \"t.tmpl\"\nr0\n#line 2 \"t.tmpl\"\nr1\n#line 4 \"t.tmpl\"\nx\n"},
        {"@repeat i three\n@{i}\\\n@end\nx\n", "#line 2 \"t.tmpl\"\n0\\\n1\\\n2\\\nx\n"},
        {"@repeat i zero\n@{i}\n@end\nx\n", "#line 4 \"t.tmpl\"\nx\n"},
        {"@repeat i 2\n@repeat j 2\n@{i}@{j}\\\n@end\n@end\n", "#line 3 \"t.tmpl\"\n00\\\n01\\\n10\\\n11\\\n"},
        {"@repeat i 2\n@repeat j size[i]\n@{size[i]}.@{j}\\\n@end\n@end\n",
         "#line 3 \"t.tmpl\"\n1.0\\\n2.0\\\n2.1\\\n"},
        {"@repeat i 2\n@if size[i] == 2\n@{i}\n@end\n@end\n", "#line 3 \"t.tmpl\"\n1\n"},
        {"@include \"templates/inner.tmpl\"\nx\n",
         "#line 1 \"templates/inner.tmpl\"\ninner 16\n#line 2 \"t.tmpl\"\nx\n"},
        {"@if zero\n@include \"templates/inner.tmpl\"\n@end\nx\n", "#line 4 \"t.tmpl\"\nx\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mj_strbuf out = {0};
        mj_error error = {0};
        CHECK_STATUS(expand(cases[i].text, &out, &error), MJ_OK);
        CHECK_STRING(out.bytes ? out.text : "", cases[i].want);
        mj_strbuf_free(&out);
    }
}

TEST(mistakes_have_file_and_line)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"a\n@{tila}\n", "t.tmpl:2: unknown variable \"tila\"; did you mean \"tile\"?"},
        {"@{}\n", "t.tmpl:1: @{ without a name"},
        {"@{tile\n", "t.tmpl:1: @{ without a name"},
        {"@{ti le}\n", "t.tmpl:1: @{ without a name"},
        {"@iff tile\n@end\n", "t.tmpl:1: unknown directive \"@iff\"; did you mean \"@if\"?"},
        {"@ if\n", "@if wants"},
        {"x\n@if tile\n", "t.tmpl:2: @if without @end"},
        {"@if tile\n@else\n@else\n@end\n", "t.tmpl:3: a second @else"},
        {"@end\n", "t.tmpl:1: @end without a block"},
        {"@else\n", "t.tmpl:1: @else without a block"},
        {"@if tile\n@end x\n", "t.tmpl:2: @end takes no words"},
        {"@if\n@end\n", "t.tmpl:1: @if wants"},
        {"@if tile = 3\n@end\n", "t.tmpl:1: @if wants"},
        {"@if tile ==\n@end\n", "t.tmpl:1: @if wants"},
        {"@if nothing\n@end\n", "t.tmpl:1: unknown variable \"nothing\""},
        {"@if zero\n@{nothing}\n@end\n", "t.tmpl:2: unknown variable \"nothing\""},
        {"@if zero\n@include \"templates/bad.tmpl\"\n@end\n", "templates/bad.tmpl:2: unknown variable \"broken\""},
        {"@repeat i\n@end\n", "t.tmpl:1: @repeat wants"},
        {"@repeat i -1\n@end\n", "t.tmpl:1: unknown variable"},
        {"@repeat i 5000\n@end\n", "t.tmpl:1: @repeat: \"5000\" is no number up to 4096"},
        {"@repeat i 99999999999999999999999999\n@end\n", "is no number up to 4096"},
        {"@repeat i kind\n@end\n", "\"silu\" is no number"},
        {"@repeat tile 2\n@end\n", "\"tile\" is a variable already"},
        {"@repeat i 2\n@repeat i 2\n@end\n@end\n", "\"i\" is a variable already"},
        {"@repeat i- 2\n@end\n", "\"i-\" is no name"},
        {"@repeat i 2\n@{i}\n", "t.tmpl:1: @repeat without @end"},
        {"@repeat i 2\n@end\n@{i}\n", "t.tmpl:3: unknown variable \"i\""},
        {"@{size[i]}\n", "t.tmpl:1: unknown variable \"i\""},
        {"@{size[three]}\n", "t.tmpl:1: unknown variable \"size_3\""},
        {"@{size[]}\n", "t.tmpl:1: an index wants name[i]"},
        {"@{size[three}\n", "t.tmpl:1: an index wants name[i]"},
        {"@{[three]}\n", "t.tmpl:1: an index wants name[i]"},
        {"@{size[three]s}\n", "t.tmpl:1: an index wants name[i]"},
        {"@repeat j size[three]]\n@end\n", "t.tmpl:1: an index wants name[i]"},
        {"@include templates/inner.tmpl\n", "t.tmpl:1: @include wants one name in quotes"},
        {"@include \"templates/none.tmpl\"\n", "t.tmpl:1: @include: "},
        {"@include \"templates/loop.tmpl\"\n", "templates/loop.tmpl:1: templates/loop.tmpl includes itself"},
        {"@include \"templates/ping.tmpl\"\n", "includes itself through other files"},
        {"@include \"templates/open.tmpl\"\n@end\n", "templates/open.tmpl:1: @if without @end"},
        {"@include \"templates/deep0.tmpl\"\n", "nested too deep"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mj_strbuf out = {0};
        mj_error error = {0};
        CHECK_STATUS(expand(cases[i].text, &out, &error), MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, cases[i].part);
        CHECK_STATUS(expand(cases[i].text, &out, NULL), MJ_ERR_FORMAT);
        mj_strbuf_free(&out);
    }
}

TEST(unused_variables)
{
    const mj_template_var vars[] = {{"a", "1", false}, {"b", "2", false}, {"c", "3", true}};
    mj_strbuf out = {0};
    mj_error error = {0};
    CHECK_STATUS(mj_expand_text(files, "t.tmpl", "@{a}\n", 5, vars, 3, &out, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "t.tmpl:1: variable \"b\" is used by no line");
    const char *branches[] = {"@if a == 2\n@{b}\n@end\n", "@if b\n@end\n@{a}\n", "@repeat i b\n@{a}\n@end\n"};
    for (int i = 0; i < 3; i++) { /* a branch not taken uses its names too */
        CHECK_STATUS(mj_expand_text(files, "t.tmpl", branches[i], strlen(branches[i]), vars, 3, &out, &error), MJ_OK);
    }
    mj_strbuf_free(&out);
}

TEST(work_and_size_are_bounded)
{
    mj_strbuf out = {0}, text = {0};
    mj_error error = {0};
    CHECK_STATUS(expand("@repeat i 4096\n@repeat j 4096\n@// nothing\n@end\n@end\n", &out, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "too many lines");
    mj_strbuf_free(&out);
    mj_strbuf_addf(&text, "@repeat i 4096\n");
    for (int i = 0; i < 300; i++) {
        mj_strbuf_addf(&text, "0123456789");
    }
    mj_strbuf_addf(&text, "\n@end\n");
    CHECK_STATUS(expand(text.text, &out, &error), MJ_ERR_CAPACITY);
    CHECK_CONTAINS(error.text, "longer than");
    mj_strbuf_free(&out);
    mj_strbuf_free(&text);
    for (int i = 0; i < 100; i++) {
        mj_strbuf_addf(&text, "@if tile\n");
    }
    CHECK_STATUS(expand(text.text, &out, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "nested too deep");
    mj_strbuf_free(&out);
    mj_strbuf_free(&text);
}

static bool write_template(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/templates/%s", dir, name);
    FILE *file = fopen(path, "w");
    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

static bool make_files(char *dir)
{
    char path[512];
    if (!mkdtemp(dir)) {
        return false;
    }
    snprintf(path, sizeof path, "%s/templates", dir);
    bool made = mkdir(path, 0700) == 0 && write_template(dir, "inner.tmpl", "inner @{tile}\n") &&
                write_template(dir, "loop.tmpl", "@include \"templates/loop.tmpl\"\n") &&
                write_template(dir, "ping.tmpl", "@include \"templates/pong.tmpl\"\n") &&
                write_template(dir, "pong.tmpl", "@include \"templates/ping.tmpl\"\n") &&
                write_template(dir, "open.tmpl", "@if tile\n") && write_template(dir, "bad.tmpl", "x\n@{broken}\n");
    for (int i = 0; i < 20 && made; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "deep%d.tmpl", i);
        snprintf(text, sizeof text, "@include \"templates/deep%d.tmpl\"\n", i + 1);
        made = write_template(dir, name, text);
    }
    mj_error error = {0};
    if (made && mj_files_open(dir, &files, &error) != MJ_OK) {
        printf("FAIL files: %s\n", error.text);
        return false;
    }
    return made;
}

static void remove_files(const char *dir)
{
    const char *const *names = NULL;
    size_t count = 0;
    char path[512];
    if (mj_files_list(files, "templates/", &names, &count, NULL) == MJ_OK) {
        for (size_t i = 0; i < count; i++) {
            snprintf(path, sizeof path, "%s/%s", dir, names[i]);
            unlink(path); /* built-in names are not there */
        }
    }
    snprintf(path, sizeof path, "%s/templates", dir);
    rmdir(path);
    rmdir(dir);
    mj_files_close(files);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/moejit-expand-XXXXXX";
    CHECK_BEGIN(argc, argv);
    if (!make_files(dir)) {
        printf("FAIL set_up: the folder of templates\n");
        return 1;
    }
    RUN(what_each_construct_writes);
    RUN(mistakes_have_file_and_line);
    RUN(unused_variables);
    RUN(work_and_size_are_bounded);
    remove_files(dir);
    return CHECK_END();
}
